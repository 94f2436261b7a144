"""What is left of a forgotten clip keeps it away and says nothing."""

import polars as pl

from lafid_assets.ingest.listing import LISTED
from lafid_assets.ingest.tombstones import Tombstones, pseudonym, write_tombstones
from resources.store.file_store import FileStore

CLIP, CONTENT = "0123456789abcdef0123456789abcdef", "f" * 64


def _listed(*ids: str) -> pl.DataFrame:
    said = {"clip_root": "/r", "caption": "text", "aesthetic": 5.0, "in_table": False, "licence": "CC0-1.0", "size_bytes": 7}
    return pl.DataFrame(
        [dict.fromkeys(LISTED) | said | {"path": f"clips/{clip}", "released_id": clip} for clip in ids], schema=LISTED
    )


def test_tombstones_know_clip_and_content_and_show_neither(store: FileStore) -> None:
    write_tombstones(store, [CLIP], [CONTENT])
    write_tombstones(store, [CLIP], [CONTENT])
    known = Tombstones(store)
    assert known.know_clip(CLIP)
    assert known.know_content(CONTENT)
    assert not known.know_clip(CONTENT)
    assert not known.know_content(CLIP)
    paths = store.list_tree("")
    assert len(paths) == 2
    assert not any(CLIP in path or CONTENT in path or store.read_bytes(path) for path in paths)


def test_listed_files_of_forgotten_clips_are_empty_and_counted(store: FileStore) -> None:
    write_tombstones(store, [CLIP], [])
    hidden = Tombstones(store).hide_forgotten(_listed("a", CLIP))
    assert hidden["released_id"].to_list() == ["a", pseudonym(CLIP)]
    row = hidden.row(1, named=True)
    assert (row["path"], row["caption"], row["aesthetic"], row["size_bytes"]) == (pseudonym(CLIP), None, None, None)
    assert (row["in_table"], row["licence"]) == (False, "CC0-1.0")
    assert hidden.row(0, named=True)["caption"] == "text"


def test_without_tombstones_nothing_changes(store: FileStore) -> None:
    listed = _listed("a", CLIP)
    assert Tombstones(store).hide_forgotten(listed).equals(listed)
