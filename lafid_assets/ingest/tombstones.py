"""What is left of a forgotten clip: hashes that keep it from coming back.

Belongs here: writing tombstones, recognising a clip by them, and the name under which a forgotten clip is still counted.
Not here: erasing (`lafid_assets.dataset.forget`).

A tombstone is an empty file whose name is a hash of the clip's id or of its content hash; neither can be read back from it.
"""

import hashlib
from collections.abc import Iterable

import polars as pl

from resources.file_store import FileStore

FOLDER = "forgotten"
PSEUDONYM = "forgotten-"
KEPT = ("clip_root", "path", "released_id", "source", "licence", "gate")
"""What listed files of forgotten clips keep, the names replaced."""
_CLIP, _CONTENT = "clip-", "content-"


def pseudonym(clip_id: str) -> str:
    """The name that takes the place of a forgotten clip's id."""
    return PSEUDONYM + _hash(clip_id)[:22]


class Tombstones:
    """All tombstones of a store, read once."""

    def __init__(self, store: FileStore) -> None:
        self._names = frozenset(store.list_files(FOLDER))

    def know_clip(self, clip_id: str) -> bool:
        """Whether a clip of this id was forgotten."""
        return _CLIP + _hash(clip_id) in self._names

    def know_content(self, content_sha256: str) -> bool:
        """Whether a clip of this content was forgotten, under whatever id."""
        return _CONTENT + _hash(content_sha256) in self._names

    def veil(self, files: pl.DataFrame) -> pl.DataFrame:
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


def write_tombstones(store: FileStore, clip_ids: Iterable[str], contents: Iterable[str]) -> None:
    """Mark clips and contents as forgotten; marking twice changes nothing."""
    for name in (*(_CLIP + _hash(clip) for clip in clip_ids), *(_CONTENT + _hash(content) for content in contents)):
        if not store.exists(f"{FOLDER}/{name}"):
            store.write_bytes(f"{FOLDER}/{name}", b"")


def _hash(text: str) -> str:
    return hashlib.sha256(f"lafid forgotten {text}".encode()).hexdigest()
