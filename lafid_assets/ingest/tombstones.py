"""What is left of a forgotten clip: hashes that keep it from coming back.

Belongs here: writing tombstones, recognising a clip by them, and the name under which a forgotten clip is still counted.
Not here: erasing (`lafid_assets.dataset.forget`).

A tombstone is an empty file whose name is a hash of the clip's id or of its content hash; neither can be read back from it.
"""

import hashlib
from collections.abc import Iterable

import polars as pl

from lafid_assets.outcomes import Reason, Status
from lafid_assets.schemas import RAW_CLIPS
from resources.shard_store import ShardStore

FOLDER = "forgotten"
PSEUDONYM = "forgotten-"
_CLIP, _CONTENT = "clip-", "content-"


def pseudonym(clip_id: str) -> str:
    """The name that takes the place of a forgotten clip's id."""
    return PSEUDONYM + _hash(clip_id)[:22]


class Tombstones:
    """All tombstones of a store, read once."""

    def __init__(self, store: ShardStore) -> None:
        self._names = frozenset(store.list_files(FOLDER))

    def know_clip(self, clip_id: str) -> bool:
        """Whether a clip of this id was forgotten."""
        return _CLIP + _hash(clip_id) in self._names

    def know_content(self, content_sha256: str) -> bool:
        """Whether a clip of this content was forgotten, under whatever id."""
        return _CONTENT + _hash(content_sha256) in self._names

    def veil(self, clips: pl.DataFrame) -> pl.DataFrame:
        """`clips` (columns of a shard manifest) with nothing left of those that were forgotten but a name that counts them."""
        known = [clip for clip in clips["clip_id"] if self.know_clip(clip)] if self._names else []
        return veil(clips, known)

    def hide(self, clips: pl.DataFrame) -> pl.DataFrame:
        """Rows of `raw_clips` in which forgotten clips, and copies of them under another name, are skipped and hold nothing."""
        known = [content for content in clips["content_sha256"].drop_nulls() if self._names and self.know_content(content)]
        hidden = pl.col("content_sha256").is_in(known).fill_null(False) | pl.col("clip_id").str.starts_with(PSEUDONYM)
        return _skip(clips, hidden)


def _skip(clips: pl.DataFrame, hidden: pl.Expr) -> pl.DataFrame:
    values: dict[str, str | None] = {column.name: None for column in RAW_CLIPS.columns if column.nullable}
    values |= {"status": Status.SKIPPED, "reason": Reason.FORGOTTEN, "detail": "forgotten on request; it stays away"}
    return RAW_CLIPS.frame(
        clips.with_columns(
            pl.when(hidden).then(pl.lit(value, RAW_CLIPS.dtypes[name])).otherwise(pl.col(name)).alias(name)
            for name, value in values.items()
        )
    )


def veil_raw(clips: pl.DataFrame, forgotten: Iterable[str]) -> pl.DataFrame:
    """The same of rows of `raw_clips`: they end as skipped."""
    veiled = veil(clips, forgotten)
    return _skip(veiled, pl.col("clip_id").str.starts_with(PSEUDONYM)) if not veiled.equals(clips) else clips


def veil(clips: pl.DataFrame, forgotten: Iterable[str]) -> pl.DataFrame:
    """Rows of a manifest in which the clips named `forgotten` are empty but for shard, source and terms."""
    names = {clip: pseudonym(clip) for clip in forgotten}
    if not names:
        return clips
    kept = {"shard", "clip_root", "source", "licence", "gate", "in_table"}
    gone = pl.col("clip_id").is_in(list(names))
    emptied = [
        pl.when(gone).then(pl.lit("" if name == "path" else None, dtype)).otherwise(pl.col(name)).alias(name)
        for name, dtype in clips.schema.items()
        if name not in kept | {"clip_id"}
    ]
    return clips.with_columns(*emptied, clip_id=pl.col("clip_id").replace(names)).sort("clip_id")


def write_tombstones(store: ShardStore, clip_ids: Iterable[str], contents: Iterable[str]) -> None:
    """Mark clips and contents as forgotten; marking twice changes nothing."""
    for name in (*(_CLIP + _hash(clip) for clip in clip_ids), *(_CONTENT + _hash(content) for content in contents)):
        if not store.exists(f"{FOLDER}/{name}"):
            store.write_bytes(f"{FOLDER}/{name}", b"")


def _hash(text: str) -> str:
    return hashlib.sha256(f"lafid forgotten {text}".encode()).hexdigest()
