"""A published list restricts what is taken in, and what is missing is named."""

from pathlib import Path

import polars as pl
import pytest

from lafid_assets.ingest.listing import restrict_to
from lafid_assets.ingest.provenance import SourceUnusable

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
