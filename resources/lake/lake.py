"""The tables, on DuckLake: Parquet files in the store, and a catalog that knows which of them count.

Belongs here: opening the lake, putting a step's tables of a partition in one transaction, reading, asking what is current.
Not here: what the tables mean (`lafid_assets.schemas`), compaction (`upkeep`), the catalog's copy (`catalog_copy`).

The table `partitions` has a row for every table and partition: what it was computed from, what it holds, and the fencing token of
the lease under which it was written. Its rows change in the transaction that changes the tables, so that reading, deciding and
writing of two processes never interleave: the second one meets a conflict and begins again.
"""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import polars as pl

from resources.lake.catalog import Catalog, CatalogBusy, is_conflict, is_lost_connection
from resources.lake.connection import LakeConnection
from resources.lake.connection import LakeUnusable as LakeUnusable
from resources.lake.ownership import join
from resources.lake.reader import Reader, Stamp
from resources.lake.tables import LakeTable
from resources.lake.upkeep import EVERY, compact_by_the_way
from resources.lake.writer import UNPARTITIONED, Writer
from resources.leases.leases import Leases
from resources.store.file_store import FileStore

Result = TypeVar("Result")

BUSY_DEADLINE_S = 180.0


class Lake:
    """The tables of one store. Nothing is opened before it is used; one connection a process, shared by its threads.

    Args:
        store: where the files lie.
        catalog: which of them count.
        home: the home that works here.
        tables: the contracts; the lake's tables and views are made from them.
        read_only: for questions alone: makes nothing, and never holds anybody up.
    """

    def __init__(
        self, store: FileStore, catalog: Catalog, home: Path, tables: Sequence[LakeTable], *, read_only: bool = False
    ) -> None:
        self.store, self.catalog, self.home, self.read_only = store, catalog, home, read_only
        self.tables = {table.name: table for table in tables}
        self.leases = Leases(catalog.sqlalchemy_url)
        self._connection = LakeConnection(store, catalog, home, tables, read_only)
        self._committed = 0

    # ---- writing

    def put(
        self,
        frames: Mapping[str, pl.DataFrame],
        partition: str = UNPARTITIONED,
        fingerprint: str = "",
        *,
        token: int = 0,
        settings_sha256: str | None = None,
        revise: Callable[[Writer, Mapping[str, pl.DataFrame]], Mapping[str, pl.DataFrame]] | None = None,
    ) -> None:
        """Put a step's tables of one partition in place of what was there, in one transaction.

        Tables that only grow (`appended`) take the rows whose key they do not hold yet.

        Args:
            frames: table to rows in the contract's form.
            fingerprint: hash of what they were computed from.
            token: of the lease under which they were computed.
            settings_sha256: of the settings that decided them, a row of `policy_settings`.
            revise: changes the frames by what the lake holds in this very transaction; called again after a conflict.

        Raises:
            Fenced: somebody with a later lease has written the partition.
            LakeUnusable: the catalog stays busy, or cannot be written.
        """

        def change(writer: Writer) -> None:
            revised = frames if revise is None else revise(writer, frames)
            writer.put(revised, {partition: fingerprint}, token, settings_sha256)

        self.commit(change)

    def commit(self, change: Callable[[Writer], Result], *, all_cores: bool = False) -> Result:
        """Run `change` in a transaction; on a conflict with another process it is run again from the beginning.

        It is also run again when the connection was lost while it was committed, so that whether it was is not known: doing it
        twice must do no harm.

        Args:
            all_cores: whether it handles so much that they are worth their start.

        Raises:
            LakeUnusable: the catalog stays busy, or cannot be written.
        """

        def once(attempt: int) -> tuple[Result, int]:
            # Who met a conflict is alone from the beginning, or somebody quicker could be first for ever.
            begun = self._connection.begin(alone=attempt > 0, all_cores=all_cores)
            try:
                writer = Writer(self.tables, begun.cursor, begun.name)
                result = change(writer)
                writer.require_young()
                self._connection.commit(begun)
                return result, begun.snapshot
            finally:
                begun.end()

        result, snapshot = self._patiently(once)
        last, self._committed = self._committed or snapshot, snapshot
        if last // EVERY != snapshot // EVERY:
            compact_by_the_way(self)
        return result

    @contextmanager
    def alone(self, what: str) -> Iterator[None]:
        """Held by whoever must be the only one in the store. A run that was taken for dead, on a machine that was cut off or
        stood still, writes no partition any more when it is back.

        Raises:
            StoreBusy: others are at work, or alone.
        """
        with self.leases.alone(what) as lease:
            self.commit(lambda writer: writer.fence(lease.token))
            yield

    # ---- reading

    @contextmanager
    def snapshot(self, *, all_cores: bool = False) -> Iterator[Reader]:
        """Several reads of one moment: what others write meanwhile is not seen.

        Args:
            all_cores: whether so much is read that they are worth their start; questions (`read_only`) have them anyway.

        Raises:
            LakeUnusable: nothing has been written yet, or it cannot be read.
        """
        begun = self._patiently(lambda _: self._connection.begin(all_cores=all_cores or self.read_only))
        try:
            yield Reader(self.tables, begun.cursor, begun.name)
        except duckdb.Error as error:
            raise self._told(error) from None
        finally:
            begun.end()

    def read(self, table: str, partition: str | None = None, columns: Sequence[str] = (), where: str = "") -> pl.DataFrame:
        """`Reader.read` of this moment."""
        with self.snapshot() as reader:
            return reader.read(table, partition, columns, where)

    def sql(self, query: str, parameters: Sequence[Any] = (), **frames: pl.DataFrame) -> pl.DataFrame:
        """`Reader.sql` of this moment."""
        with self.snapshot() as reader:
            return reader.sql(query, parameters, **frames)

    def stamps(self, tables: Iterable[str] = (), partitions: Iterable[str] = ()) -> dict[tuple[str, str], Stamp]:
        """`Reader.stamps` of this moment."""
        with self.snapshot() as reader:
            return reader.stamps(tables, partitions)

    def row_count(self, table: str) -> int:
        """`Reader.row_count` of this moment."""
        with self.snapshot() as reader:
            return reader.row_count(table)

    def is_there(self) -> bool:
        """Whether anything has been written yet."""
        return join(self.catalog, self.store, self.home, writing=False)

    def close(self) -> None:
        """Let go of the catalog; the next use opens it again."""
        self._connection.close()

    def _patiently(self, work: Callable[[int], Result]) -> Result:
        give_up, attempt = time.monotonic() + BUSY_DEADLINE_S, 0
        while True:
            try:
                return work(attempt)
            except duckdb.Error as error:
                told = self._told(error)
                passes = is_conflict(error) or (is_lost_connection(error) and self._connection.was_open)
                if not passes or time.monotonic() > give_up:
                    raise told from None
            except CatalogBusy:
                if time.monotonic() > give_up:
                    raise
            attempt += 1
            time.sleep(random.uniform(0.01, 0.05) * min(attempt, 20))

    def _told(self, error: duckdb.Error) -> Exception:
        if is_lost_connection(error):
            self._connection.close()
        return self._connection.told(error)
