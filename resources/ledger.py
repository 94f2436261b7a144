"""What is finished of a partition that is still being computed, durable on the local disk, so that a killed run goes on where it
stopped.

Belongs here: parts (a few rows of each table of a step) written whole or not at all, and reading them back. Not here: which rows
still count (the step knows), finished partitions (`shard_store`).
"""

import fcntl
import logging
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from model.files import whole_folder

LOGGER = logging.getLogger("lafid.ledger")


class Ledger:
    """Parts at `<folder>/<fingerprint>/<number>/<table>.parquet`; a part is never changed, and counts only as a whole.

    Args:
        folder: of one step and partition, used by one run at a time (`held`).
        fingerprint: of the code and settings that make the rows; parts made otherwise are not seen.
        seconds_per_part: how much finished work a kill may cost.
    """

    def __init__(self, folder: Path, fingerprint: str, seconds_per_part: float = 5.0) -> None:
        self.folder = folder
        self._seconds_per_part = seconds_per_part
        self._parts = folder / fingerprint

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other runs on this machine off the partition; waits for one that is at it, which ends with its process."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with self.folder.with_name(f"{self.folder.name}.lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                LOGGER.warning("another run computes %s: waiting for it", self.folder.name)
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def read(self) -> list[dict[str, pl.DataFrame]]:
        """All parts, oldest first. One that cannot be read is reported and removed: its clips are computed again."""
        found = []
        for part in self._numbered():
            try:
                found.append({path.stem: pl.read_parquet(path) for path in sorted(part.glob("*.parquet"))})
            except (pl.exceptions.PolarsError, OSError) as error:
                LOGGER.warning(
                    "the ledger's part %s cannot be read and is removed, its clips are computed again: %s", part, error
                )
                shutil.rmtree(part)
        return found

    @contextmanager
    def writing(self) -> Iterator["PartWriter"]:
        """Gives a writer that makes a part of what came in over some seconds, and of the rest at the end, however it ends."""
        taken = [int(part.name) for part in self._numbered()]
        writer = PartWriter(self._parts, max(taken, default=-1) + 1, self._seconds_per_part)
        try:
            yield writer
        finally:
            writer.flush()

    def clear(self) -> None:
        """Forget everything: the partition is in the store."""
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def _numbered(self) -> list[Path]:
        parts = [path for path in self._parts.glob("*") if path.name.isdecimal()]
        return sorted(parts, key=lambda path: int(path.name))


class PartWriter:
    """Gathers frames for a few seconds, so that quick clips do not leave a file each."""

    def __init__(self, parts: Path, number: int, seconds_per_part: float) -> None:
        self._folder, self._number, self._seconds = parts, number, seconds_per_part
        self._gathered: list[Mapping[str, pl.DataFrame]] = []
        self._last = time.monotonic()

    def add(self, frames: Mapping[str, pl.DataFrame]) -> None:
        """Take one clip's rows; they are durable once `flush` has run, which comes by itself when it is time."""
        self._gathered.append(frames)
        if time.monotonic() - self._last >= self._seconds:
            self.flush()

    def flush(self) -> None:
        """Make what was gathered durable: fsync, then rename."""
        if self._gathered:
            with whole_folder(self._folder / str(self._number)) as part:
                for table in self._gathered[0]:
                    pl.concat([frames[table] for frames in self._gathered]).write_parquet(part / f"{table}.parquet")
            self._number += 1
            self._gathered = []
        self._last = time.monotonic()
