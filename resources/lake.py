"""The tables, on DuckLake: Parquet files in the store, and a catalog that knows which of them count.

Belongs here: opening the lake, putting a step's tables of a partition in one transaction, reading, asking what is current.
Not here: what the tables mean (`lafid_assets.schemas`), compaction (`lake_upkeep`), the catalog's copy (`catalog_copy`).

The table `partitions` has a row for every table and partition: what it was computed from, what it holds, and the fencing token of
the lease under which it was written. Its rows change in the transaction that changes the tables, so that reading, deciding and
writing of two processes never interleave: the second one meets a conflict and begins again.
"""

import itertools
import os
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import duckdb
import polars as pl

from resources.catalog import TABLES_FOLDER, Catalog, join
from resources.duckdb_extensions import duckdb_cursor, quoted
from resources.file_store import FileStore
from resources.lake_reader import Reader, Stamp
from resources.lake_tables import LakeTable, in_transaction, prepare_tables
from resources.lake_writer import UNPARTITIONED, Writer
from resources.leases import Leases
from resources.s3_secret import s3_secret

Result = TypeVar("Result")

BUSY_DEADLINE_S = 180.0
CONFLICTS = ("conflict", "database is locked", "could not serialize", "deadlock detected")
LOST_CONNECTIONS = (
    "server closed the connection",
    "terminating connection",
    "connection to server",
    "no connection to the server",
)


class LakeUnusable(OSError):
    """A table cannot be read or written; the message names it and the remedy."""


class _Attached(NamedTuple):
    """The catalog as one process has it open: a connection, and the name under which DuckDB knows it."""

    connection: duckdb.DuckDBPyConnection
    name: str
    process: int


_numbers = itertools.count()


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
        self,
        store: FileStore,
        catalog: Catalog,
        home: Path,
        tables: Sequence[LakeTable],
        *,
        read_only: bool = False,
    ) -> None:
        self.store, self.catalog, self.home, self.read_only = store, catalog, home, read_only
        self.tables = {table.name: table for table in tables}
        self.leases = Leases(catalog.sqlalchemy_url)
        self._lock = threading.RLock()
        self._attached: _Attached | None = None

    # ---- writing

    def put(
        self,
        frames: Mapping[str, pl.DataFrame],
        partition: str = UNPARTITIONED,
        fingerprint: str = "",
        *,
        token: int = 0,
        revise: Callable[[Reader, Mapping[str, pl.DataFrame]], Mapping[str, pl.DataFrame]] | None = None,
    ) -> None:
        """Put a step's tables of one partition in place of what was there, in one transaction.

        Tables that only grow (`appended`) take the rows whose key they do not hold yet.

        Args:
            frames: table to rows in the contract's form.
            fingerprint: hash of what they were computed from.
            token: of the lease under which they were computed.
            revise: changes the frames by what the lake holds in this very transaction; called again after a conflict.

        Raises:
            Fenced: somebody with a later lease has written the partition.
            LakeUnusable: the catalog stays busy, or cannot be written.
        """
        self.commit(
            lambda writer: writer.put(frames if revise is None else revise(writer, frames), {partition: fingerprint}, token)
        )

    def commit(self, change: Callable[[Writer], Result]) -> Result:
        """Run `change` in a transaction; on a conflict with another process it is run again from the beginning.

        Raises:
            LakeUnusable: the catalog stays busy, or cannot be written.
        """
        deadline = time.monotonic() + BUSY_DEADLINE_S
        attempt = 0
        while True:
            try:
                with self._transaction(writing=True) as reader:
                    return change(reader)
            except duckdb.Error as error:
                if not _passes(error) or time.monotonic() > deadline:
                    raise self._unusable(error) from error
                if _connection_lost(error):
                    self.close()
            attempt += 1
            time.sleep(random.uniform(0.01, 0.05) * min(attempt, 20))

    # ---- reading

    @contextmanager
    def snapshot(self) -> Iterator[Reader]:
        """Several reads of one moment: what others write meanwhile is not seen.

        Raises:
            LakeUnusable: nothing has been written yet, or it cannot be read.
        """
        try:
            with self._transaction(writing=False) as reader:
                yield reader
        except duckdb.Error as error:
            raise self._unusable(error) from error

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

    def is_there(self) -> bool:
        """Whether anything has been written yet."""
        return join(self.catalog, self.store, self.home, writing=False)

    def close(self) -> None:
        """Let go of the catalog; the next use opens it again."""
        with self._lock:
            attached, self._attached = self._attached, None
            if attached is not None and attached.process == os.getpid():
                attached.connection.execute("USE memory")
                attached.connection.execute(f"DETACH {attached.name}")
                attached.connection.close()

    # ---- inside

    @contextmanager
    def _transaction(self, *, writing: bool) -> Iterator[Writer]:
        attached = self._open()
        cursor = attached.connection.cursor()
        try:
            cursor.execute(f"USE {attached.name}")
            cursor.execute("BEGIN")
            yield Writer(self.tables, cursor, attached.name)
            cursor.execute("COMMIT" if writing else "ROLLBACK")
        except BaseException:
            if in_transaction(cursor):  # a failed COMMIT has rolled back already
                cursor.execute("ROLLBACK")
            raise
        finally:
            cursor.close()

    def _open(self) -> "_Attached":
        with self._lock:
            if self._attached is None or self._attached.process != os.getpid():
                self._attached = self._attach()
            return self._attached

    def _attach(self) -> "_Attached":
        if not join(self.catalog, self.store, self.home, writing=not self.read_only):
            raise LakeUnusable(f"there are no tables in {self.store.uri} yet: run `make demo` or `lafid curate DIR` first")
        remote = () if self.store.is_local else ("httpfs",)
        connection = duckdb_cursor([*self.catalog.extensions, *remote])
        name = f"lake_{next(_numbers)}"
        try:
            if remote:
                connection.execute(s3_secret())
            options = f"DATA_PATH {quoted(self._data_path)}, OVERRIDE_DATA_PATH true{', READ_ONLY' if self.read_only else ''}"
            connection.execute(f"ATTACH {quoted(self.catalog.ducklake_uri)} AS {name} ({options})")
            connection.execute(f"USE {name}")
            if not self.read_only:
                prepare_tables(connection, name, list(self.tables.values()))
        except duckdb.Error as error:
            connection.close()
            raise self._unusable(error) from error
        return _Attached(connection, name, os.getpid())

    @property
    def _data_path(self) -> str:
        return f"{self.store.uri}/{TABLES_FOLDER}/" if not self.store.is_local else f"{self.store.local_path(TABLES_FOLDER)}/"

    def _unusable(self, error: duckdb.Error) -> Exception:
        said = self.catalog.without_password(" ".join(str(error).split()))
        if _passes(error):
            return LakeUnusable(f"the catalog {self.catalog} stays busy or away ({said}): try again when other runs are done")
        if isinstance(error, duckdb.IOException):
            return LakeUnusable(
                f"cannot read or write the tables in {self.store.uri} ({said}): free some space or make it reachable"
            )
        return error


def _passes(error: duckdb.Error) -> bool:
    """Whether the same transaction may succeed later."""
    said = str(error).lower()
    return any(sign in said for sign in CONFLICTS) or _connection_lost(error)


def _connection_lost(error: duckdb.Error) -> bool:
    said = str(error).lower()
    return any(sign in said for sign in LOST_CONNECTIONS)
