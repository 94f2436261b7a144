"""A place where clips lie, seen alike whether it is a folder or a prefix on S3.

Belongs here: names, sizes and times below it, and its tables. Not here: walking a folder (`folder_walk`), requests to S3
(`resources.store.s3_objects`), which files are clips (`listing`), opening one (`clip_prefetch`).
"""

import logging
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Protocol

import polars as pl

from lafid_assets.ingest.clip_prefetch import object_at, scratch
from lafid_assets.ingest.folder_walk import is_utf8, readable, time_ns, walk
from lafid_assets.ingest.provenance import SOURCE_FILE, SourceUnusable
from model.wording import first_few
from resources.store.s3_objects import Listed, ObjectUnreadable, is_address, list_objects, read_object, split_address

LOGGER = logging.getLogger("lafid.ingest")

TABLE_PATTERN = "OpenHumanVid_part_*.csv"
STATE = {"path": pl.String, "size_bytes": pl.Int64, "mtime_ns": pl.Int64, "etag": pl.String}
FILES = {**STATE, "fault": pl.String}
ROWS_AT_ONCE = 100_000


class ClipRoot(Protocol):
    """A folder or a prefix. `address`: absolute; what `clip_root` says."""

    address: str

    def require(self) -> None:
        """Passes where there is such a place.

        Raises:
            SourceUnusable: there is none.
        """

    def tables(self) -> pl.DataFrame:
        """OpenHumanVid's tables by name, with the columns of `STATE`. One whose name is not UTF-8 is told and left out.

        Raises:
            SourceUnusable: that is so of all.
        """

    def files(self, wanted: Callable[[str], bool], folders: Collection[str] | None = None) -> pl.DataFrame:
        """Frame with the columns of `FILES`: the files whose name is wanted, as `folder_walk.walk` gives them."""

    def table(self, name: str) -> AbstractContextManager[Path]:
        """A table as a file of this machine."""

    def provenance(self) -> bytes | None:
        """What `lafid_source.json` says, where there is one."""


def root_at(place: Path | str) -> ClipRoot:
    """The place that somebody names.

    Raises:
        SourceUnusable: its name is no UTF-8, or names no bucket.
    """
    return _Prefix(str(place)) if is_address(place) else _Folder(Path(place))


class _Folder:
    def __init__(self, folder: Path) -> None:
        self._folder = Path(os.path.abspath(folder))
        self.address = str(self._folder)
        if not is_utf8(self.address):
            raise SourceUnusable(f"the name of the folder {self.address!r} is not UTF-8: rename it")

    def require(self) -> None:
        if not self._folder.is_dir():
            raise SourceUnusable(f"there is no folder {self._folder}: mount it or name another folder")

    def tables(self) -> pl.DataFrame:
        found, faulty = [], list[str]()
        for path in sorted(self._folder.glob(TABLE_PATTERN)):
            if not is_utf8(path.name):
                faulty.append(readable(path.name))
                continue
            with suppress(OSError):  # it went, or is a link to nowhere
                found.append((path.name, (state := path.stat()).st_size, time_ns(state), None))
        if faulty:
            told = f"the name of a table in {self._folder} is not UTF-8: rename {first_few(faulty)}"
            if not found:  # without any table its clips would be taken for those of a plain folder
                raise SourceUnusable(told)
            LOGGER.warning("%s; its rows are left out", told)
        return pl.DataFrame(found, schema=STATE, orient="row")

    def files(self, wanted: Callable[[str], bool], folders: Collection[str] | None = None) -> pl.DataFrame:
        try:
            found = walk(self._folder, wanted, folders)
        except OSError as error:
            raise SourceUnusable(
                f"cannot read the folder {self._folder}: {error.strerror}. Mend that or name another folder"
            ) from error
        return found.with_columns(etag=pl.lit(None, pl.String)).select(list(FILES))

    @contextmanager
    def table(self, name: str) -> Iterator[Path]:
        yield self._folder / name

    def provenance(self) -> bytes | None:
        path = self._folder / SOURCE_FILE
        return path.read_bytes() if path.is_file() else None


class _Prefix:
    """`s3://bucket/prefix`. What no file system could hold below a folder is left out and told: empty names, `.` and `..`."""

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        if not split_address(address)[0]:
            raise SourceUnusable(f"{address} names no bucket: write s3://bucket/prefix")

    def require(self) -> None:
        """A prefix is there as soon as something lies below it."""

    def tables(self) -> pl.DataFrame:
        return self._tables

    @cached_property
    def _tables(self) -> pl.DataFrame:
        own = list_objects(f"{self.address}/", directly=True)
        named = [item for item in own if PurePosixPath(self._path(item)).match(TABLE_PATTERN)]
        return self._frame(named).drop("fault")

    def files(self, wanted: Callable[[str], bool], folders: Collection[str] | None = None) -> pl.DataFrame:
        frames, chunk, left = [self._frame([])], list[Listed](), list[str]()
        for folder in [""] if folders is None else [f"{name}/" for name in sorted(folders)]:
            for item in list_objects(f"{self.address}/{folder}"):
                parts = self._path(item).split("/")
                if not parts[-1]:  # a folder's own mark
                    continue
                if {"", ".", ".."} & set(parts):
                    left.append(item.key)
                elif wanted(parts[-1]) and not any(part.startswith(".") for part in parts):
                    chunk.append(item)
                if len(chunk) == ROWS_AT_ONCE:
                    frames.append(self._frame(chunk))
                    chunk = []
        if left:
            LOGGER.warning("not read below %s: %s: no file could be named so", self.address, first_few(left, 5))
        return pl.concat([*frames, self._frame(chunk)])

    @contextmanager
    def table(self, name: str) -> Iterator[Path]:
        [state] = self._tables.filter(path=name).to_dicts()
        table = object_at(f"{self.address}/{name}", state["size_bytes"], state["etag"])
        try:
            with scratch().holding(table, keep=True) as path:
                yield path
        except ObjectUnreadable as error:
            raise SourceUnusable(f"cannot read the table: {error}") from error

    def provenance(self) -> bytes | None:
        try:
            return read_object(f"{self.address}/{SOURCE_FILE}")
        except ObjectUnreadable as error:
            if error.is_missing:
                return None
            raise SourceUnusable(f"cannot read where clips come from: {error}") from error

    def _path(self, item: Listed) -> str:
        return item.key.removeprefix(split_address(f"{self.address}/")[1])

    def _frame(self, items: list[Listed]) -> pl.DataFrame:
        rows = [(self._path(item), item.size_bytes, item.mtime_s * 10**9, item.etag, None) for item in items]
        return pl.DataFrame(rows, schema=FILES, orient="row")
