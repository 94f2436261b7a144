"""The store: Parquet per table and partition, and the files that belong to them, on a local disk or an object store.

Belongs here: writing whole files or none, reading them back, and knowing whether a partition is current.
Not here: what the tables mean (`lafid_assets.schemas`), DuckDB (`warehouse`).
"""

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from model.files import whole_file

FINGERPRINT_KEY = b"lafid.fingerprint"
DIGEST_KEY = b"lafid.digest"
GROUP_KEY = b"lafid.group"
UNPARTITIONED = "all"


class StoreUnusable(OSError):
    """A file of the store cannot be read or written; the message names it and the remedy."""


@dataclass(frozen=True)
class Stamp:
    """What a partition's file says about itself: what it was computed from, what it holds, and what it was written with."""

    fingerprint: str
    digest: str
    group: str


def frame_digest(frame: pl.DataFrame) -> str:
    """Hash of a frame's columns, types and values; the same for equal frames on any machine."""
    # Parquet holds nothing below a NULL; Arrow's own format would hash whatever happens to lie in memory there.
    buffer = io.BytesIO()
    pq.write_table(frame.rechunk().to_arrow(), buffer, compression="none", use_dictionary=False)
    return hashlib.sha256(buffer.getvalue()).hexdigest()


class ShardStore:
    """Tables at `tables/<table>/<partition>.parquet`, other files wherever their step puts them, below one root.

    Args:
        uri: a local path, or `s3://bucket/prefix` (credentials and endpoint as pyarrow reads them, `AWS_ENDPOINT_URL` included).
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        self.is_local = "://" not in uri
        if self.is_local:
            self._fs: pafs.FileSystem = pafs.LocalFileSystem()
            self._root = str(Path(uri).absolute())
        else:
            self._fs, self._root = _remote_filesystem(self.uri)

    def full_path(self, path: str) -> str:
        """`path` below the root, in the file system's own spelling."""
        return f"{self._root}/{path}"

    def local_path(self, path: str) -> Path:
        """The same for code that needs a real file (memory-mapped latents, checkpoints).

        Raises:
            StoreUnusable: the store is remote.
        """
        if not self.is_local:
            raise StoreUnusable(f"{path} is needed as a local file, but the store is {self.uri}: set LAFID_STORE to a local path")
        return Path(self.full_path(path))

    def exists(self, path: str) -> bool:
        """Whether there is a file at `path`."""
        return self._fs.get_file_info(self.full_path(path)).type == pafs.FileType.File

    def read_bytes(self, path: str) -> bytes:
        """The whole file.

        Raises:
            StoreUnusable: there is none, or it cannot be read.
        """
        try:
            with self._fs.open_input_file(self.full_path(path)) as handle:
                return bytes(handle.read())
        except OSError as error:
            raise StoreUnusable(f"cannot read {self.uri}/{path}: {error}") from error

    def write_bytes(self, path: str, content: bytes) -> None:
        """Write a file whole or not at all: locally by fsync and rename, remotely by the object store's own atomic put.

        Raises:
            StoreUnusable: it cannot be written.
        """
        target = self.full_path(path)
        try:
            if self.is_local:
                with whole_file(Path(target)) as temporary:
                    temporary.write_bytes(content)
            else:
                with self._fs.open_output_stream(target) as handle:
                    handle.write(content)
        except OSError as error:
            raise StoreUnusable(
                f"cannot write {self.uri}/{path} ({error.strerror or error}): free some space or make it writable"
            ) from error

    def list_files(self, folder: str) -> list[str]:
        """Names of the files directly in `folder`, sorted; empty when there is no such folder."""
        selector = pafs.FileSelector(self.full_path(folder), allow_not_found=True)
        return sorted(
            info.base_name
            for info in self._fs.get_file_info(selector)
            if info.type == pafs.FileType.File and not info.base_name.startswith(".")
        )

    def list_tree(self, folder: str) -> list[str]:
        """Paths of all files below `folder`, relative to the root, sorted; empty when there is no such folder."""
        selector = pafs.FileSelector(self.full_path(folder), allow_not_found=True, recursive=True)
        found = self._fs.get_file_info(selector)
        return sorted(info.path.removeprefix(f"{self._root}/") for info in found if info.type == pafs.FileType.File)

    def remove(self, path: str) -> None:
        """Remove a file, or a folder with all that it holds; nothing happens when there is none."""
        kind = self._fs.get_file_info(self.full_path(path)).type
        if kind == pafs.FileType.Directory:
            self._fs.delete_dir(self.full_path(path))
        elif kind == pafs.FileType.File:
            self._fs.delete_file(self.full_path(path))

    def rewrite(self, path: str, change: Callable[[pl.DataFrame], pl.DataFrame], *, dry_run: bool = False) -> bool:
        """Put other rows in the place of those of a Parquet file, which keeps saying what it was computed from.

        Returns:
            whether `change` changed anything; if not, or in a dry run, the file is left alone.
        """
        content = self.read_bytes(path)
        before = pl.read_parquet(io.BytesIO(content))
        after = change(before)
        if after.equals(before):
            return False
        if not dry_run:
            metadata = pq.read_schema(io.BytesIO(content)).metadata or {}
            digest = {DIGEST_KEY: frame_digest(after).encode()} if DIGEST_KEY in metadata else {}
            buffer = io.BytesIO()
            arrow = after.to_arrow()
            pq.write_table(arrow.replace_schema_metadata(metadata | digest), buffer, compression="zstd")
            self.write_bytes(path, buffer.getvalue())
        return True

    def partitions(self, table: str) -> list[str]:
        """Partitions of `table` that have been written, sorted."""
        return [name.removesuffix(".parquet") for name in self.list_files(f"tables/{table}") if name.endswith(".parquet")]

    def write_group(self, frames: Mapping[str, pl.DataFrame], partition: str, fingerprint: str) -> dict[str, str]:
        """Write the tables of one step and partition; together they count only when every file carries the same group.

        Returns:
            table to content digest.
        """
        digests = {table: frame_digest(frame) for table, frame in frames.items()}
        group = hashlib.sha256(json.dumps([fingerprint, sorted(digests.items())]).encode()).hexdigest()
        for table, frame in frames.items():
            arrow = frame.to_arrow()
            stamped = arrow.replace_schema_metadata(
                {
                    FINGERPRINT_KEY: fingerprint.encode(),
                    DIGEST_KEY: digests[table].encode(),
                    GROUP_KEY: group.encode(),
                }
            )
            buffer = io.BytesIO()
            pq.write_table(stamped, buffer, compression="zstd")
            self.write_bytes(_table_path(table, partition), buffer.getvalue())
        return digests

    def stamp(self, table: str, partition: str = UNPARTITIONED) -> Stamp | None:
        """What the partition's file says about itself; None when there is no file or it is not one of ours."""
        path = _table_path(table, partition)
        if not self.exists(path):
            return None
        with self._fs.open_input_file(self.full_path(path)) as handle:
            metadata = pq.read_schema(handle).metadata or {}
        if not {FINGERPRINT_KEY, DIGEST_KEY, GROUP_KEY} <= set(metadata):
            return None
        return Stamp(metadata[FINGERPRINT_KEY].decode(), metadata[DIGEST_KEY].decode(), metadata[GROUP_KEY].decode())

    def is_current(self, tables: tuple[str, ...], partition: str, fingerprint: str) -> bool:
        """Whether all `tables` of the partition were written together under this fingerprint."""
        stamps = [self.stamp(table, partition) for table in tables]
        groups = {stamp.group for stamp in stamps if stamp is not None}
        return None not in stamps and len(groups) == 1 and all(s is not None and s.fingerprint == fingerprint for s in stamps)

    def read_table(self, table: str, partition: str = UNPARTITIONED, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """One partition of a table, or only some of its columns.

        Raises:
            StoreUnusable: it has not been written.
        """
        path = _table_path(table, partition)
        if not self.exists(path):
            raise StoreUnusable(
                f"the table {table} has no partition {partition} in {self.uri}: materialize the asset {table} first"
            )
        return pl.read_parquet(io.BytesIO(self.read_bytes(path)), columns=list(columns) if columns else None)

    def read_form(self, table: str, partition: str) -> pl.Schema:
        """Columns and types of one partition, without its rows."""
        return pl.Schema(pl.read_parquet_schema(io.BytesIO(self.read_bytes(_table_path(table, partition)))))

    def read_all(self, table: str, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """All partitions of a table, in the order of their names, or only some of its columns.

        Raises:
            StoreUnusable: none has been written.
        """
        frames = [self.read_table(table, partition, columns) for partition in self.partitions(table)]
        if not frames:
            raise StoreUnusable(f"the table {table} is empty in {self.uri}: materialize the asset {table} first")
        return pl.concat(frames)

    def digests(self, table: str, partition: str | None) -> Iterator[tuple[str, str]]:
        """(partition, content digest) of one partition, or of all where `partition` is None."""
        for name in [partition] if partition is not None else self.partitions(table):
            stamp = self.stamp(table, name)
            if stamp is not None:
                yield name, stamp.digest


def _table_path(table: str, partition: str) -> str:
    return f"tables/{table}/{partition}.parquet"


def _remote_filesystem(uri: str) -> tuple[pafs.FileSystem, str]:
    scheme, _, path = uri.partition("://")
    if scheme != "s3":
        raise StoreUnusable(f"the store {uri} is neither a local path nor s3://: set LAFID_STORE to one of them")
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    return pafs.S3FileSystem(endpoint_override=endpoint), path
