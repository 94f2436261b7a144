"""What a folder holds, in both layouts, by names, sizes and times alone."""

import builtins
import io
import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lafid_assets.ingest.folder_walk import NAME_NOT_UTF8
from lafid_assets.ingest.listing import LISTED, list_files, restrict_to
from lafid_assets.ingest.openhumanvid import MEASURES
from lafid_assets.ingest.provenance import SOURCE_FILE, SourceUnusable

ID, OTHER = "0123456789abcdef0123456789abcdef", "f" * 32
NO_CLIPS = (
    "LICENSE",
    "SHA256SUMS",
    "README",
    "Makefile",
    "checksums",
    ".DS_Store",
    "._x",
    "._a.mp4",
    ".hidden/a.mp4",
    "notes.txt",
)


def _write(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())


def _part(root: Path, *lines: str, header: str = "clip_id,path,caption,aesthetic") -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "OpenHumanVid_part_001.csv").write_text("\n".join((header, *lines)) + "\n")


def _rows(root: Path) -> list[dict[str, Any]]:
    listed = list_files(root)
    assert dict(listed.schema) == LISTED
    return listed.to_dicts()


def _paths(root: Path) -> list[str]:
    return [row["path"] for row in _rows(root)]


def test_plain_folder_comes_whole(tmp_path: Path) -> None:
    _write(tmp_path, "b.mp4", "a/deep.MOV")
    os.utime(tmp_path / "b.mp4", ns=(7, 7))
    first, second = _rows(tmp_path)
    assert first["path"] == "a/deep.MOV"
    assert second == dict.fromkeys(LISTED) | {
        "clip_root": str(tmp_path),
        "path": "b.mp4",
        "size_bytes": 5,
        "mtime_ns": 7,
        "in_table": True,
        "source": "folder",
        "licence": "unstated",
        "gate": "unstated",
    }


def test_released_row_comes_whole(tmp_path: Path) -> None:
    _part(tmp_path, f'{ID},clips/{ID},"She smiles, then turns.",5.1')
    _write(tmp_path, f"clips/{ID}.mp4")
    os.utime(tmp_path / f"clips/{ID}.mp4", ns=(7, 7))
    assert _rows(tmp_path) == [
        dict.fromkeys(MEASURES)
        | {
            "clip_root": str(tmp_path),
            "path": f"clips/{ID}.mp4",
            "size_bytes": 42,
            "mtime_ns": 7,
            "etag": None,
            "released_id": ID,
            "in_table": True,
            "fault": None,
            "caption": "She smiles, then turns.",
            "aesthetic": 5.1,
            "source": "OpenHumanVid",
            "licence": "CC-BY-NC-ND-4.0",
            "gate": "gated",
        }
    ]


def test_folder_says_itself_where_it_comes_from(tmp_path: Path) -> None:
    _write(tmp_path, "a.mp4")
    (tmp_path / SOURCE_FILE).write_text('{"source": "ours", "licence": "CC-BY-4.0", "gate": "open"}')
    [row] = _rows(tmp_path)
    assert (row["source"], row["licence"], row["gate"]) == ("ours", "CC-BY-4.0", "open")


def test_no_clip_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _part(tmp_path / "released", f"{ID},clips/{ID},text,5")
    _write(tmp_path, f"released/clips/{ID}.mp4", f"released/clips/{OTHER}", "plain/a.mp4")

    def refuse(*arguments: Any, **keywords: Any) -> Any:
        raise AssertionError(arguments)

    for place, name in ((builtins, "open"), (io, "open"), (os, "open")):
        monkeypatch.setattr(place, name, refuse)
    assert len(_rows(tmp_path / "released")) == 2
    assert len(_rows(tmp_path / "plain")) == 1


def test_what_is_no_clip_by_its_name_is_none_in_any_layout(tmp_path: Path) -> None:
    _write(tmp_path / "plain", *NO_CLIPS, "clip.mp4", "clip", ID)
    assert _paths(tmp_path / "plain") == ["clip.mp4"]
    _part(tmp_path / "released", f"{ID},clips/abc,text,5")
    _write(tmp_path / "released", *(f"clips/{name}" for name in NO_CLIPS), "clips/abc", f"clips/{OTHER}", "clips/x.mp4", "y.mp4")
    assert _paths(tmp_path / "released") == ["clips/abc", "clips/x.mp4", f"clips/{OTHER}"]


def test_file_without_row_has_an_id_only_where_its_name_is_one(tmp_path: Path) -> None:
    _part(tmp_path, "a,clips/a,text,5")
    _write(tmp_path, "clips/a.mp4", "clips/holiday.AVI", f"clips/{OTHER}.mp4")
    found = {row["path"]: (row["released_id"], row["in_table"], row["size_bytes"] > 0) for row in _rows(tmp_path)}
    assert found == {
        "clips/a.mp4": ("a", True, True),
        "clips/holiday.AVI": (None, False, True),
        f"clips/{OTHER}.mp4": (OTHER, False, True),
    }


def test_row_without_file_is_listed_without_size(tmp_path: Path) -> None:
    _part(tmp_path, "a,clips/a,text,5", "b,clips\\b,text,5", "c,,text,5", "d,/etc/hostname,text,5", "e,../e,text,5")
    _write(tmp_path, "clips/a.mp4", "../e")
    found = {row["released_id"]: (row["path"], row["size_bytes"], row["mtime_ns"]) for row in _rows(tmp_path)}
    assert found.pop("a")[1] == 11
    assert found == {
        "b": ("clips/b", None, None),
        "c": ("", None, None),
        "d": ("/etc/hostname", None, None),
        "e": ("../e", None, None),
    }


@pytest.mark.parametrize("written", ["clips/w", "clips/w.mp4", "clips\\w.mp4", "./clips/w.mp4"])
@pytest.mark.parametrize("file", ["clips/w.mp4", "clips/w.MP4", "clips/w"])
def test_row_finds_its_file_in_every_spelling(tmp_path: Path, written: str, file: str) -> None:
    _part(tmp_path, f"a,{written},text,5")
    _write(tmp_path, file)
    assert [(row["released_id"], row["path"], row["size_bytes"]) for row in _rows(tmp_path)] == [("a", file, len(file))]


def test_row_may_name_a_file_anywhere_below_the_root(tmp_path: Path) -> None:
    _part(tmp_path, "a,videos/part/a,text,5", "b,b.mp4,text,5")
    _write(tmp_path, "videos/part/a.mp4", "videos/spare.mp4", "b.mp4", "frames/c.mp4")
    assert _paths(tmp_path) == ["videos/part/a.mp4", "b.mp4"]


def test_linked_folder_of_clips_is_read(tmp_path: Path) -> None:
    _part(tmp_path / "root", "a,clips/part/a,text,5")
    _write(tmp_path, "disk/part/a.mp4")
    (tmp_path / "root" / "clips").symlink_to(tmp_path / "disk")
    assert _paths(tmp_path / "root") == ["clips/part/a.mp4"]


def test_two_files_without_row_under_one_id_count_once_and_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The same clip in two parts, or with and without suffix: a shard with an id twice could never be curated."""
    _part(tmp_path, f"{ID},clips/1/{ID},text,5")
    _write(tmp_path, f"clips/1/{ID}", f"clips/2/{ID}", f"clips/1/{OTHER}.mp4", f"clips/2/{OTHER}")
    assert _paths(tmp_path) == [f"clips/1/{ID}", f"clips/1/{OTHER}.mp4"]
    assert "2 files bear the id of a clip" in caplog.text


@pytest.mark.parametrize("layout", ["plain", "released"])
def test_name_that_is_not_utf8_costs_its_own_row_alone(tmp_path: Path, layout: str) -> None:
    if layout == "released":
        _part(tmp_path, "a,clips/a,text,5", "b,clips/caf\\xe9.mp4,its spelling is no way to it,5")
    _write(tmp_path, "clips/a.mp4")
    (tmp_path / "clips" / os.fsdecode(b"caf\xe9.mp4")).write_bytes(b"123")
    found = {row["path"]: (row["fault"], row["size_bytes"]) for row in _rows(tmp_path) if row["released_id"] != "b"}
    assert found == {"clips/a.mp4": (None, 11), "clips/caf\\xe9.mp4": (NAME_NOT_UTF8, 3)}


def test_rows_stand_in_one_order_however_the_disk_gives_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _part(tmp_path, "b,clips/b,text,5", "a,clips/z,text,5")
    _write(tmp_path, *(f"clips/{name}.mp4" for name in "zbyx"))
    expected = list_files(tmp_path)
    assert expected["path"].to_list() == ["clips/z.mp4", "clips/b.mp4", "clips/x.mp4", "clips/y.mp4"]
    scandir = os.scandir

    class Reversed:
        def __init__(self, path: str) -> None:
            with scandir(path) as entries:
                self.entries = sorted(entries, key=lambda entry: entry.name, reverse=True)

        def __enter__(self) -> list[os.DirEntry[str]]:
            return self.entries

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(os, "scandir", Reversed)
    assert list_files(tmp_path).equals(expected)


def test_relative_root_is_told_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path, "in/a.mp4")
    monkeypatch.chdir(tmp_path)
    assert _rows(Path("in/../in"))[0]["clip_root"] == str(tmp_path / "in")


def test_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    _write(tmp_path, "file")
    for name in ("none", "file"):
        with pytest.raises(SourceUnusable, match=f"there is no folder {tmp_path}/{name}: mount it or name another folder"):
            list_files(tmp_path / name)


@pytest.mark.parametrize("there", [(), ("clips/lost+found/README",), ("elsewhere/a.mp4",)])
def test_tables_whose_clips_are_all_away_are_a_disk_that_is_not_mounted(tmp_path: Path, there: tuple[str, ...]) -> None:
    _part(tmp_path, "a,clips/a,text,5", "b,clips/b,text,5", "c,,text,5")
    _write(tmp_path, *there)
    with pytest.raises(SourceUnusable, match=f"{tmp_path}/clips is not there or holds no clip, and the tables name 3: mount it"):
        list_files(tmp_path)


def test_clips_that_no_row_names_are_a_disk_that_is_there(tmp_path: Path) -> None:
    _part(tmp_path, "a,clips/a,text,5")
    _write(tmp_path, "clips/b.mp4")
    assert _paths(tmp_path) == ["clips/a", "clips/b.mp4"]


def test_empty_folder_says_what_to_put_there(tmp_path: Path) -> None:
    with pytest.raises(SourceUnusable, match=f"{tmp_path} holds neither OpenHumanVid_part_.* nor a video file: put clips there"):
        list_files(tmp_path)


def test_folder_that_cannot_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(SourceUnusable, match=f"cannot read the folder {tmp_path}: Permission denied. Mend that"):
        list_files(tmp_path)


def test_folder_under_a_name_that_no_table_can_hold_is_an_error(tmp_path: Path) -> None:
    root = tmp_path / os.fsdecode(b"d\xff")
    _write(root, "a.mp4")
    with pytest.raises(SourceUnusable, match="is not UTF-8: rename it"):
        list_files(root)


def test_two_rows_of_one_file_both_have_it(tmp_path: Path) -> None:
    _part(tmp_path, "a,clips/a,text,5", "b,clips/a.mp4,text,5", "c,clips\\a.mp4,text,5")
    _write(tmp_path, "clips/a.mp4")
    listed = list_files(tmp_path)
    assert listed.filter(pl.col("size_bytes").is_not_null())["released_id"].to_list() == ["b", "c"]


RELEASED = pl.DataFrame({"released_id": ["a", "b", "c"], "path": ["x/a.mp4", "x/b", "x/c"]})
PLAIN = pl.DataFrame(
    {"released_id": [None] * 4, "path": ["a.mp4", "a.mov", "b.MP4", ""]}, schema={"released_id": pl.String, "path": pl.String}
)


def _restrict(folder: Path, text: str, files: pl.DataFrame = RELEASED) -> tuple[list[str], list[str]]:
    path = folder / "list.csv"
    path.write_text(text)
    kept, missing = restrict_to(files, path)
    return kept["path" if files is PLAIN else "released_id"].to_list(), missing


@pytest.mark.parametrize(
    ("text", "kept", "missing"),
    [
        ("clip_id,caption\na,text\nz,text\nc,\n", ["a", "c"], ["z"]),
        ("path\nx/a\nx/b.mp4\nx/z\n", ["a", "b"], ["x/z"]),
        ("clip_id,path\nother,x/a.mp4\nb,elsewhere\nz,nowhere\n", ["a", "b"], ["z"]),
        ("path\n.\\x\\a.MP4\n", ["a"], []),
        ("clip_id,path\na,x/b\n,x/y\n", ["a", "b"], ["x/y"]),
        ("\ufeffclip_id,Unnamed: 1\nb,\nb,\n", ["b"], []),
    ],
    ids=[
        "by id",
        "by path, with or without suffix",
        "by either",
        "as Windows writes it",
        "by both",
        "byte order mark, spare column, twice",
    ],
)
def test_clips_are_found_by_id_or_path(tmp_path: Path, text: str, kept: list[str], missing: list[str]) -> None:
    assert _restrict(tmp_path, text) == (kept, missing)


@pytest.mark.parametrize(
    ("text", "kept", "missing"),
    [
        ("path\na\nb.mp4\nz\n", ["a.mp4", "b.MP4"], ["z"]),
        ("clip_id,path\nf00,a.mov\nf01,\n,b\n", ["a.mov", "b.MP4"], ["f01"]),
        ('clip_id,path\nf00,a.mov\nf01,""\n', ["a.mov"], ["f01"]),
    ],
)
def test_files_of_a_plain_folder_are_found_by_path_alone(tmp_path: Path, text: str, kept: list[str], missing: list[str]) -> None:
    assert _restrict(tmp_path, text, PLAIN) == (kept, missing)
    with pytest.raises(SourceUnusable, match="or give paths: a plain folder's clips have no other name yet"):
        _restrict(tmp_path, "clip_id\nf00\n", PLAIN)


def test_unusable_lists_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceUnusable, match="has neither a column clip_id nor path: give one of them"):
        _restrict(tmp_path, "id\na\n")
    with pytest.raises(SourceUnusable, match="names none of the 3 clips: name the folder that holds its clips$"):
        _restrict(tmp_path, "clip_id\nz\n")
    with pytest.raises(SourceUnusable, match=r"cannot read the list .*nowhere.csv"):
        restrict_to(RELEASED, tmp_path / "nowhere.csv")


def test_a_table_whose_name_is_not_utf8_costs_its_own_rows(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bad = tmp_path / os.fsdecode(b"OpenHumanVid_part_\xff.csv")
    bad.write_text("clip_id,path,caption\nb,clips/b,text\n")
    _write(tmp_path, "clips/a.mp4", "clips/b.mp4")
    with pytest.raises(SourceUnusable, match=r"the name of a table in .* is not UTF-8: rename OpenHumanVid_part_\\xff.csv"):
        list_files(tmp_path)
    _part(tmp_path, "a,clips/a,text,5")
    assert dict(list_files(tmp_path).select("path", "in_table").rows()) == {"clips/a.mp4": True, "clips/b.mp4": False}
    assert r"is not UTF-8: rename OpenHumanVid_part_\xff.csv; its rows are left out" in caplog.text
