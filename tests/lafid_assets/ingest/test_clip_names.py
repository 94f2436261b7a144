"""Which file a written path means."""

import polars as pl
import pytest

from lafid_assets.ingest.clip_names import find_paths, has_video_suffix, plain_paths, released_id

ID = "0123456789abcdef0123456789abcdef"


def _found(written: list[str | None], files: list[str]) -> dict[str, str]:
    frame = find_paths(pl.Series(written, dtype=pl.String), pl.Series(files, dtype=pl.String))
    assert frame.columns == ["written", "found"]
    assert frame["written"].is_unique().all()
    return dict(frame.iter_rows())


@pytest.mark.parametrize(
    "written", ["clips/w1.mp4", "clips\\w1.mp4", "./clips/w1.mp4", ".\\clips\\w1", "clips//./w1", "clips/w1"]
)
def test_spellings_of_one_path_mean_one_file(written: str) -> None:
    assert _found([written], ["clips/w1.mp4", "clips/w2.mp4"]) == {written: "clips/w1.mp4"}


@pytest.mark.parametrize(
    ("written", "files", "found"),
    [
        ("a", ["a.mov", "a.mp4", "a"], "a"),
        ("a.MP4", ["a.avi", "a.mp4"], "a.mp4"),
        ("a.mov", ["a.mp4", "a.MOV"], "a.MOV"),
        ("a", ["a.avi", "a.MP4", "a.webm"], "a.MP4"),
        ("a", ["a.webm", "a.avi"], "a.avi"),
        ("a.mp4", ["a"], "a"),
    ],
)
def test_of_several_files_the_nearest_name_wins(written: str, files: list[str], found: str) -> None:
    assert _found([written], files) == {written: found}
    assert _found([written], files[::-1]) == {written: found}


def test_what_is_no_video_suffix_is_part_of_the_name() -> None:
    assert _found(["a", "b.1"], ["a.txt", "b"]) == {}


def test_file_that_one_path_names_is_no_others() -> None:
    assert _found(["a.mp4", "a.mov"], ["a.mov"]) == {"a.mov": "a.mov"}


def test_backslash_may_be_part_of_a_name() -> None:
    assert _found(["x\\a.mp4"], ["x\\a.mp4", "x/a.mp4"]) == {"x\\a.mp4": "x\\a.mp4"}


def test_a_path_twice_is_found_once_and_none_means_nothing() -> None:
    assert _found(["a", "a", "b", "b", None, ""], ["a.mp4", "b", ""]) == {"a": "a.mp4", "b": "b"}


@pytest.mark.parametrize(
    "written", ["/etc/hostname", "../x", "a/../../x", "..\\x", "\\\\host\\share\\x", "//host/share/x", "C:\\x"]
)
def test_a_path_that_leads_out_still_does(written: str) -> None:
    [plain] = plain_paths(pl.Series([written]))
    assert plain.startswith(("/", "C:/")) or ".." in plain.split("/")


def test_kinds_of_names() -> None:
    videos = ["a.MP4", "x/a.m2ts", f"{ID}.MOV"]
    others = ["mp4", "LICENSE", f"x/{ID}", f"{ID}.txt", f"x{ID}", "a.mp4.part", "a.mp4/b"]
    names = pl.DataFrame({"name": [*videos, *others]})
    assert names.filter(has_video_suffix(pl.col("name")))["name"].to_list() == videos
    assert names.filter(released_id(pl.col("name")) == ID)["name"].to_list() == [f"{ID}.MOV", f"x/{ID}"]
    assert names.select(released_id(pl.col("name")).count()).item() == 2
