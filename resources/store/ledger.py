"""What is finished of a partition that is still being computed, durable in the store, so that another run goes on where a dead
one stopped, on whichever machine.

Belongs here: parts (a few rows of each table of a step) that count as a whole or not at all, and reading them back. Not here:
which rows still count (the step knows), who may compute the partition (`leases`), finished partitions.
"""

import io
import logging
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import polars as pl

from resources.leases.leases import Lease
from resources.store.file_store import FileStore

LOGGER = logging.getLogger("lafid.ledger")
FOLDER = "ledger"
WHOLE = "whole"  # a part's last file; a line a table
PART = re.compile(r"(\d+)-(\d+)")


class Ledger:
    """Parts at `ledger/<step>/<partition>/<fingerprint>/<token>-<number>/<table>.parquet`; a part is never changed.

    Args:
        lease: of the partition. Its token keeps the parts of this run from those of one that was taken for dead and writes on.
        fingerprint: of the code and settings that make the rows; parts made otherwise are not seen.
        seconds_per_part: how much finished work a kill may cost.

    All methods raise `StoreUnusable` when the store cannot be written.
    """

    def __init__(
        self, store: FileStore, step: str, partition: str, fingerprint: str, lease: Lease, seconds_per_part: float = 5.0
    ) -> None:
        self.folder = f"{FOLDER}/{step}/{partition}"
        self._store, self._lease, self._seconds_per_part = store, lease, seconds_per_part
        self._parts = f"{self.folder}/{fingerprint}"

    def read(self) -> list[dict[str, pl.DataFrame]]:
        """All parts, oldest first. One that cannot be read is reported and removed: its clips are computed again. What others
        left half written is removed."""
        found = []
        for (token, number), files in self._numbered():
            part = f"{self._parts}/{token}-{number}"
            if WHOLE not in files:
                if token != self._lease.token:
                    self._store.remove(part)
                continue
            try:
                tables = self._store.read_bytes(f"{part}/{WHOLE}").decode().split()
                found.append({table: self._read(f"{part}/{table}.parquet") for table in tables})
            except (pl.exceptions.PolarsError, OSError) as error:
                LOGGER.warning(
                    "the ledger's part %s cannot be read and is removed, its clips are computed again: %s", part, error
                )
                self._store.remove(f"{part}/{WHOLE}")
                self._store.remove(part)
        return found

    @contextmanager
    def writing(self) -> Iterator["PartWriter"]:
        """Gives a writer that makes a part of what came in over some seconds, and of the rest at the end, however it ends.

        Raises:
            LeaseLost: another run computes the partition now.
        """
        own = [number for (token, number), _ in self._numbered() if token == self._lease.token]
        writer = PartWriter(self._store, self._parts, self._lease, max(own, default=-1) + 1, self._seconds_per_part)
        try:
            yield writer
        finally:
            writer.flush()

    def clear(self) -> None:
        """Forget everything: the partition is in the store."""
        self._store.remove(self.folder)

    def _read(self, path: str) -> pl.DataFrame:
        return pl.read_parquet(io.BytesIO(self._store.read_bytes(path)))

    def _numbered(self) -> list[tuple[tuple[int, int], set[str]]]:
        """(token, number) and the files of every part, in the order in which they were begun."""
        parts: dict[tuple[int, int], set[str]] = {}
        for path in self._store.list_tree(self._parts):
            folder, _, name = path.removeprefix(f"{self._parts}/").partition("/")
            if numbers := PART.fullmatch(folder):
                parts.setdefault((int(numbers[1]), int(numbers[2])), set()).add(name)
        return sorted(parts.items())


class PartWriter:
    """Gathers frames for a few seconds, so that quick clips do not leave a file each."""

    def __init__(self, store: FileStore, parts: str, lease: Lease, number: int, seconds_per_part: float) -> None:
        self._store, self._parts, self._lease = store, parts, lease
        self._number, self._seconds = number, seconds_per_part
        self._gathered: list[Mapping[str, pl.DataFrame]] = []
        self._last = time.monotonic()

    def add(self, frames: Mapping[str, pl.DataFrame]) -> None:
        """Take one clip's rows; they are durable once `flush` has run, which comes by itself when it is time."""
        self._gathered.append(frames)
        if time.monotonic() - self._last >= self._seconds:
            self.flush()

    def flush(self) -> None:
        """Make what was gathered durable: the tables, and then the file that makes them count.

        Raises:
            LeaseLost: another run computes the partition now; nothing is written.
        """
        if self._gathered:
            self._lease.require()
            part = f"{self._parts}/{self._lease.token}-{self._number}"
            for table in self._gathered[0]:
                buffer = io.BytesIO()
                pl.concat([frames[table] for frames in self._gathered]).write_parquet(buffer)
                self._store.write_bytes(f"{part}/{table}.parquet", buffer.getvalue())
            self._store.write_bytes(f"{part}/{WHOLE}", "\n".join(self._gathered[0]).encode())
            self._number += 1
            self._gathered = []
        self._last = time.monotonic()
