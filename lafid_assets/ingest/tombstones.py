"""What is left of a forgotten clip: hashes that keep it from coming back.

Belongs here: writing tombstones, recognising a clip by them, and the name under which a forgotten clip is still counted.
Not here: erasing (`lafid_assets.dataset.forget`).

A tombstone is an empty file whose name is a hash of the clip's id or of its content hash; neither can be read back from it. That
of a piece of a recording also names its interval, so that a piece that is cut otherwise one day stays away, too.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import polars as pl

from lafid_assets.outcomes import Reason, Status
from resources.store.file_store import FileStore

FOLDER = "forgotten"
PSEUDONYM = "forgotten-"
KEPT = ("clip_root", "path", "released_id", "source", "licence", "gate")
"""What listed files of forgotten clips keep, the names replaced."""
_CLIP, _CONTENT, _PIECE = "clip-", "content-", "piece-"
FORGOTTEN = {"status": Status.SKIPPED, "reason": Reason.FORGOTTEN, "detail": "forgotten on request; it stays away"}
"""How a forgotten clip ends."""


def pseudonym(clip_id: str) -> str:
    """The name that takes the place of a forgotten clip's id."""
    return PSEUDONYM + _hash(clip_id)[:22]


class Tombstones:
    """All tombstones of a store, read once."""

    def __init__(self, store: FileStore) -> None:
        self._names = frozenset(store.list_files(FOLDER))
        self._forgotten_parts: dict[str, list[tuple[int, int]]] = {}
        for name in self._names:
            if name.startswith(_PIECE):
                content, first, last = name.removeprefix(_PIECE).split("_")
                self._forgotten_parts.setdefault(content, []).append((int(first), int(last)))

    def know_clip(self, clip_id: str) -> bool:
        """Whether a clip of this id was forgotten."""
        return _CLIP + _hash(clip_id) in self._names

    def know_content(self, content_sha256: str) -> bool:
        """Whether a clip of this content was forgotten, under whatever id."""
        return _CONTENT + _hash(content_sha256) in self._names

    def hide_forgotten(self, files: pl.DataFrame) -> pl.DataFrame:
        """Listed files with nothing left of released clips that were forgotten but a name that counts them, and their terms."""
        ids = files["released_id"].drop_nulls()
        names = {clip: pseudonym(clip) for clip in ids if self.know_clip(clip)} if self._names else {}
        if not names:
            return files
        gone = pl.col("released_id").is_in(list(names)).fill_null(False)
        emptied = [
            pl.when(~gone).then(name).alias(name)
            for name in files.columns
            if name not in KEPT and files.schema[name] != pl.Boolean
        ]
        name = pl.col("released_id").replace(names)
        return files.with_columns(*emptied, released_id=name, path=pl.when(gone).then(name).otherwise("path"))

    def hide_forgotten_pieces(self, pieces: pl.DataFrame) -> pl.DataFrame:
        """Rows of `pieces` with nothing left of those that show a part of a forgotten one but a name that counts them."""
        gone = [row["clip_id"] for row in pieces.iter_rows(named=True) if self._know_piece(row)]
        return empty_pieces(pieces, gone)

    def know_part_of(self, clip: Mapping[str, Any]) -> bool:
        """Whether an interval of the clip's content was forgotten."""
        return bool(self._intervals(clip["content_sha256"]))

    def _know_piece(self, piece: Mapping[str, Any]) -> bool:
        intervals = self._intervals(piece["content_sha256"])
        return any(piece["first_pts"] <= last and first <= piece["last_pts"] for first, last in intervals)

    def _intervals(self, content_sha256: str | None) -> list[tuple[int, int]]:
        return self._forgotten_parts.get("" if content_sha256 is None else _hash(content_sha256), [])


def empty_pieces(pieces: pl.DataFrame, gone: Collection[str]) -> pl.DataFrame:
    """Rows of `pieces` of which those that are gone keep a pseudonym, their recording and their place in it."""
    named = pl.col("clip_id").is_in(list(gone))
    emptied = [
        pl.when(named).then(pl.lit(FORGOTTEN.get(name), dtype)).otherwise(pl.col(name)).alias(name)
        for name, dtype in pieces.schema.items()
        if name not in ("clip_id", "shard", "recording_id", "shots_in_file", "piece_index")
    ]
    return pieces.with_columns(*emptied, clip_id=pl.col("clip_id").replace({clip: pseudonym(clip) for clip in gone}))


def write_tombstones(
    store: FileStore, clip_ids: Iterable[str], contents: Iterable[str], intervals: Iterable[tuple[str, int, int]] = ()
) -> None:
    """Mark clips and contents as forgotten, and intervals of contents; marking twice changes nothing."""
    names = [_CLIP + _hash(clip) for clip in clip_ids]
    names += [_CONTENT + _hash(content) for content in contents]
    names += [f"{_PIECE}{_hash(content)}_{first}_{last}" for content, first, last in intervals]
    for name in names:
        if not store.exists(f"{FOLDER}/{name}"):
            store.write_bytes(f"{FOLDER}/{name}", b"")


def _hash(text: str) -> str:
    return hashlib.sha256(f"lafid forgotten {text}".encode()).hexdigest()
