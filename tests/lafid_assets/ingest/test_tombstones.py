"""What is left of a forgotten clip keeps it away and says nothing."""

from collections.abc import Callable
from typing import Any

import polars as pl

from lafid_assets.ingest.openhumanvid import MANIFEST
from lafid_assets.ingest.tombstones import Tombstones, pseudonym, write_tombstones
from lafid_assets.schemas import RAW_CLIPS
from resources.shard_store import ShardStore

CLIP, CONTENT = "0123456789abcdef0123456789abcdef", "f" * 64


def _manifest(*ids: str) -> pl.DataFrame:
    row = {"path": "p", "clip_root": "/r", "caption": "text", "aesthetic": 5.0, "in_table": False, "licence": "CC0-1.0"}
    return pl.DataFrame([dict.fromkeys(MANIFEST) | row | {"clip_id": clip} for clip in ids], schema=MANIFEST)


def test_tombstones_know_clip_and_content_and_show_neither(store: ShardStore) -> None:
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


def test_manifest_rows_of_forgotten_clips_are_empty_and_counted(store: ShardStore) -> None:
    write_tombstones(store, [CLIP], [])
    veiled = Tombstones(store).veil(_manifest("a", CLIP))
    assert veiled["clip_id"].to_list() == ["a", pseudonym(CLIP)]
    row = veiled.row(1, named=True)
    assert (row["path"], row["caption"], row["aesthetic"], row["in_table"], row["licence"]) == ("", None, None, False, "CC0-1.0")
    assert veiled.row(0, named=True)["caption"] == "text"


def test_without_tombstones_nothing_changes(store: ShardStore, row_of: Callable[..., dict[str, Any]]) -> None:
    manifest = _manifest("a", CLIP)
    assert Tombstones(store).veil(manifest).equals(manifest)
    raw = RAW_CLIPS.frame([row_of(RAW_CLIPS, clip_id="a", content_sha256=CONTENT), row_of(RAW_CLIPS, clip_id="b")])
    assert Tombstones(store).hide(raw).equals(raw)


def test_copies_and_pseudonyms_end_as_forgotten(store: ShardStore, row_of: Callable[..., dict[str, Any]]) -> None:
    write_tombstones(store, [CLIP], [CONTENT])
    facts = {"caption": "text", "duration_s": 2.0}
    rows = [
        row_of(RAW_CLIPS, clip_id="copy", content_sha256=CONTENT, **facts),
        row_of(RAW_CLIPS, clip_id="other", content_sha256="e" * 64, **facts),
        row_of(RAW_CLIPS, clip_id=pseudonym(CLIP), status="error", reason="not_a_file"),
    ]
    hidden = Tombstones(store).hide(RAW_CLIPS.frame(rows))
    assert RAW_CLIPS.violations(hidden) == {"schema": [], "unique_key": [], "values": []}
    ended = {
        clip: tuple(rest) for clip, *rest in hidden.select("clip_id", "reason", "content_sha256", "caption", "duration_s").rows()
    }
    assert ended == {
        "copy": ("forgotten", None, None, None),
        pseudonym(CLIP): ("forgotten", None, None, None),
        "other": (None, "e" * 64, "text", 2.0),
    }
