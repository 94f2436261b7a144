"""What people have on disk: released tables in all their spellings, and plain folders."""

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from lafid_assets.ingest.openhumanvid import MANIFEST, MEASURES, SourceUnusable, find_file, list_clips, read_table

ID = "0123456789abcdef0123456789abcdef"
OTHER = "f" * 32
HEADER = "clip_id,path,caption,luminance_min,aesthetic"


def _part(root: Path, *lines: str, header: str = HEADER, number: int = 1, bom: bool = False) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    path = root / f"OpenHumanVid_part_{number:03}.csv"
    path.write_text("\n".join((header, *lines)) + "\n", encoding="utf-8-sig" if bom else "utf-8")
    return path


def _clip(root: Path, clip_id: str, suffix: str = "", content: bytes = b"video") -> str:
    path = f"clips/part_001/{clip_id[:2]}/{clip_id[2:4]}/{clip_id}"
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / f"{path}{suffix}").write_bytes(content)
    return path


def _by_id(root: Path) -> dict[str, dict]:
    listed = list_clips(root)
    assert listed.columns == list(MANIFEST)
    assert listed["clip_id"].is_unique().all()
    return {row["clip_id"]: row for row in listed.iter_rows(named=True)}


def test_released_row_comes_whole(tmp_path: Path) -> None:
    path = _clip(tmp_path, ID)
    _part(tmp_path, f'{ID},{path},"She smiles, then turns.",12.5,5.1')
    assert _by_id(tmp_path)[ID] == dict.fromkeys(MEASURES) | {
        "clip_id": ID,
        "path": path,
        "clip_root": str(tmp_path),
        "caption": "She smiles, then turns.",
        "luminance_min": 12.5,
        "aesthetic": 5.1,
        "in_table": True,
        "source": "OpenHumanVid",
        "licence": "CC-BY-NC-ND-4.0",
        "gate": "gated",
    }


def test_byte_order_mark_and_spare_trailing_columns_are_tolerated(tmp_path: Path) -> None:
    table = _part(tmp_path, f"{ID},a,text,1,2,,", f"{OTHER},b,more,3,4", header=f"{HEADER},,", bom=True)
    assert read_table(table).select("clip_id", "path", "caption", "aesthetic").rows() == [
        (ID, "a", "text", 2.0),
        (OTHER, "b", "more", 4.0),
    ]


def test_rows_longer_than_the_header_are_cut(tmp_path: Path) -> None:
    assert read_table(_part(tmp_path, f"{ID},a,text,1,2,spare,spare")).height == 1


def test_measure_that_is_no_number_is_null(tmp_path: Path) -> None:
    assert read_table(_part(tmp_path, f"{ID},a,text,n/a,")).select("luminance_min", "aesthetic").rows() == [(None, None)]


@pytest.mark.parametrize("missing", ["clip_id", "path", "caption"])
def test_missing_column_is_named_with_its_file(tmp_path: Path, missing: str) -> None:
    header = ",".join(name for name in HEADER.split(",") if name != missing)
    table = _part(tmp_path, "1,2,3,4", header=header)
    with pytest.raises(
        SourceUnusable, match=f"the table {table} has no column {missing}: OpenHumanVid's tables need clip_id, path"
    ):
        list_clips(tmp_path)


def test_row_without_id_is_named(tmp_path: Path) -> None:
    table = _part(tmp_path, f"{ID},a,text,1,2", ",b,text,1,2")
    with pytest.raises(SourceUnusable, match=f"{table} has 1 rows without clip_id"):
        list_clips(tmp_path)


def test_row_with_an_empty_id_in_quotes_is_named(tmp_path: Path) -> None:
    table = _part(tmp_path, '"",b,text,1,2')
    with pytest.raises(SourceUnusable, match=f"{table} has 1 rows without clip_id"):
        read_table(table)


def test_blank_lines_are_no_rows(tmp_path: Path) -> None:
    assert read_table(_part(tmp_path, "", f"{ID},a,text,1,2", "", f"{OTHER},b,text,1,2", ""))["clip_id"].to_list() == [ID, OTHER]


@pytest.mark.parametrize(
    ("rows", "line", "row"),
    [
        (["a,p,x,1,2", 'b,p,"She says,1,2', "c,p,x,1,2"], 3, "b"),
        (['a,p,"She says,1,2', "b,p,x,1,2", 'c,p,"fine",1,2', "d,p,x,1,2"], 2, "a"),
        (['a,p,"two\nlines",1,2', 'b,p,a 5" tall doll,1,2', "c,p,x,1,2"], 4, "b"),
        (["a,p,x,1,2", 'b,p,"he said" and left,1,2'], 3, "b"),
        (['a,p,one 5" doll,1,2', "b,p,x,1,2", 'c,p,another 6" doll,1,2'], 2, "a"),
    ],
    ids=["never closed", "closed by a later row", "inch mark", "text after the quote", "two inch marks"],
)
def test_stray_quote_is_named_with_its_line_and_row(tmp_path: Path, rows: list[str], line: int, row: str) -> None:
    table = _part(tmp_path, *rows)
    with pytest.raises(
        SourceUnusable, match=f"cannot read the table {table}: a stray quote in line {line} \\(row '{row}'\\): write"
    ):
        read_table(table)


def test_quotes_and_lines_within_a_text_are_read(tmp_path: Path) -> None:
    table = _part(tmp_path, f'{ID},a,"x\ny",1,2', f'{OTHER},b,"say ""hi""",1,2')
    assert read_table(table)["caption"].to_list() == ["x\ny", 'say "hi"']


def test_row_without_path_is_a_clip_without_file(tmp_path: Path) -> None:
    _part(tmp_path, f"{ID},,text,1,2")
    assert _by_id(tmp_path)[ID]["path"] == ""


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\x01", b'clip_id,path,caption\n"a,b,c\n\xff'])
def test_unreadable_table_is_named(tmp_path: Path, content: bytes) -> None:
    table = tmp_path / "OpenHumanVid_part_001.csv"
    table.write_bytes(content)
    with pytest.raises(SourceUnusable, match=f"{table}"):
        list_clips(tmp_path)


def test_all_parts_are_read_and_the_first_row_of_an_id_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _part(tmp_path, f"{ID},a,first,1,2", f"{ID},a,second,1,2", number=1)
    _part(tmp_path, f"{ID},a,third,1,2", f"{OTHER},b,other,1,2", number=2)
    assert {name: row["caption"] for name, row in _by_id(tmp_path).items()} == {ID: "first", OTHER: "other"}
    assert f"2 rows below {tmp_path} repeat a clip_id" in caplog.text


def test_rows_without_file_and_files_without_row_are_both_listed(tmp_path: Path) -> None:
    _part(tmp_path, f"{ID},clips/part_001/01/23/{ID},text,1,2")
    path = _clip(tmp_path, OTHER)
    found = _by_id(tmp_path)
    assert {name: row["in_table"] for name, row in found.items()} == {ID: True, OTHER: False}
    assert found[OTHER]["path"] == path


@pytest.mark.parametrize("suffix", ["", ".mp4"])
def test_file_is_found_with_and_without_suffix(tmp_path: Path, suffix: str) -> None:
    path = _clip(tmp_path, ID, suffix)
    _part(tmp_path, f"{ID},{path},text,1,2")
    assert list(_by_id(tmp_path)) == [ID], "the file must not count as one without row"
    assert find_file(tmp_path, path) == tmp_path / f"{path}{suffix}"


def test_file_without_row_under_a_foreign_name_gets_an_id_of_its_path(tmp_path: Path) -> None:
    _part(tmp_path, f"{ID},{_clip(tmp_path, ID)},text,1,2")
    (tmp_path / "clips" / "holiday.mp4").write_bytes(b"video")
    expected = hashlib.sha256(b"clips/holiday.mp4").hexdigest()[:32]
    assert set(_by_id(tmp_path)) == {ID, expected}


def test_two_files_without_row_under_one_id_count_once(tmp_path: Path) -> None:
    """The same clip in two parts, or with and without suffix: a shard with an id twice could never be curated."""
    _part(tmp_path, f"{ID},{_clip(tmp_path, ID)},text,1,2")
    _clip(tmp_path, OTHER)
    _clip(tmp_path, OTHER, ".mp4")
    assert set(_by_id(tmp_path)) == {ID, OTHER}


def test_path_that_no_disk_can_hold_is_listed(tmp_path: Path) -> None:
    _part(tmp_path, f"{ID},{'x' * 300},text,1,2")
    assert set(_by_id(tmp_path)) == {ID}


def test_plain_folder_takes_its_ids_from_the_content(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "one.mp4").write_bytes(b"one")
    (tmp_path / "deep" / "two.MOV").write_bytes(b"two")
    (tmp_path / "notes.txt").write_bytes(b"no video")
    found = _by_id(tmp_path)
    assert {name: row["path"] for name, row in found.items()} == {
        hashlib.sha256(b"one").hexdigest()[:32]: "one.mp4",
        hashlib.sha256(b"two").hexdigest()[:32]: "deep/two.MOV",
    }
    assert {(row["caption"], row["in_table"], row["source"], row["licence"]) for row in found.values()} == {
        (None, True, "folder", "unstated")
    }


def test_copies_in_a_plain_folder_count_once_and_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(b"same")
    [row] = _by_id(tmp_path).values()
    assert row["path"] == "a.mp4"
    assert "1 files of" in caplog.text


def test_hidden_files_and_folders_are_no_clips(tmp_path: Path) -> None:
    for path in (".DS_Store", ".git/objects/ab/cdef", ".lafid/demo/video.mp4"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(path.encode())
    (tmp_path / "clip.mp4").write_bytes(b"video")
    assert [row["path"] for row in _by_id(tmp_path).values()] == ["clip.mp4"]


def test_folder_below_a_hidden_one_is_read(tmp_path: Path) -> None:
    root = tmp_path / ".cache" / "clips"
    root.mkdir(parents=True)
    (root / "clip.mp4").write_bytes(b"video")
    assert list_clips(root).height == 1


def test_empty_folder_says_what_to_put_there(tmp_path: Path) -> None:
    with pytest.raises(SourceUnusable, match=f"{tmp_path} holds neither OpenHumanVid_part_.* nor a video file: put clips there"):
        list_clips(tmp_path)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceUnusable, match=f"{tmp_path}/none is not a folder: name the folder that holds the clips"):
        list_clips(tmp_path / "none")


def test_what_is_no_file_or_cannot_be_read_is_listed_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "good.mp4").write_bytes(b"video")
    (tmp_path / "locked.mp4").write_bytes(b"locked")
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "folder.mp4").mkdir()
    read = Path.open

    def refuse(path: Path, *arguments: Any, **keywords: Any) -> Any:
        if path.name == "locked.mp4":
            raise PermissionError(13, "Permission denied")
        return read(path, *arguments, **keywords)

    monkeypatch.setattr(Path, "open", refuse)
    listed = list_clips(tmp_path)
    assert sorted(listed["path"]) == ["good.mp4", "locked.mp4", "pipe.mp4"]
    assert listed["clip_id"].n_unique() == 3
