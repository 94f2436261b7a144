"""The warehouse: a DuckDB file that mirrors the store, so that people can ask questions in SQL.

Belongs here: short transactions under a lock, publishing by rename, rebuilding from the store.
Not here: the store of record (`shard_store`), what the tables mean (`lafid_assets.schemas`).
"""

import fcntl
import random
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import duckdb
import polars as pl

from resources.shard_store import UNPARTITIONED, ShardStore

BUSY_DEADLINE_S = 60.0


class WarehouseUnusable(OSError):
    """The DuckDB file cannot be opened or written; the message names it and the remedy."""


class Warehouse:
    """Writers work on `lafid.work.duckdb`; readers open the published copy `lafid.duckdb`.

    DuckDB's lock is per process and shuts readers out too; the copy keeps an analyst's open connection and a running
    asset out of each other's way. Nothing here connects before it is used.

    Args:
        path: the published file.
        store: where the tables can be read back from.
        column_comments: table to column to meaning, written as SQL comments.
    """

    def __init__(self, path: Path, store: ShardStore, column_comments: Mapping[str, Mapping[str, str]]) -> None:
        self.path = path
        self.work_path = path.with_name(f"{path.stem}.work{path.suffix}")
        self.store = store
        self.column_comments = column_comments

    def replace_partition(self, frames: Mapping[str, pl.DataFrame], partition: str) -> None:
        """Put the tables of one step and partition in place of what was there, in one transaction, and publish.

        Raises:
            WarehouseUnusable: another program holds the work file, or the disk is full.
        """
        with self._writing() as connection:
            for table, frame in frames.items():
                self._replace(connection, table, frame, partition)

    def rebuild(self) -> list[str]:
        """Make the whole file anew from the store's Parquet.

        Returns:
            the tables that it now holds.
        """
        with self._writing(fresh=True) as connection:
            return [table for table in self.column_comments if _form(connection, table) is not None]

    @contextmanager
    def read(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A read-only connection to the published copy.

        Raises:
            WarehouseUnusable: nothing has been published yet.
        """
        if not self.path.is_file():
            raise WarehouseUnusable(f"there is no {self.path} yet: run `make demo` or `lafid curate DIR` first")
        connection = duckdb.connect(str(self.path), read_only=True)
        try:
            yield connection
        finally:
            connection.close()

    def _replace(self, connection: duckdb.DuckDBPyConnection, table: str, frame: pl.DataFrame, partition: str) -> None:
        if _form(connection, table) != frame.schema:
            self._load_from_store(connection, table, frame.schema)
            return
        if partition == UNPARTITIONED:
            connection.execute(f"DELETE FROM {table}")
        else:
            connection.execute(f"DELETE FROM {table} WHERE shard = ?", [partition])
        connection.register("incoming", frame)
        connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming")
        connection.unregister("incoming")

    def _load_all(self, connection: duckdb.DuckDBPyConnection) -> None:
        for table, columns in self.column_comments.items():
            forms = [self.store.read_form(table, name) for name in self.store.partitions(table)]
            current = [form for form in forms if form.names() == list(columns)]
            if current:
                self._load_from_store(connection, table, current[-1])

    def _load_from_store(self, connection: duckdb.DuckDBPyConnection, table: str, form: pl.Schema) -> None:
        """Also how a table begins, and how it takes up a changed contract: partitions of another form are left out."""
        partitions = [self.store.read_table(table, name) for name in self.store.partitions(table)]
        connection.register("incoming", pl.concat([frame for frame in partitions if frame.schema == form]))
        connection.execute(f"CREATE OR REPLACE TABLE {table} AS SELECT * FROM incoming")
        connection.unregister("incoming")
        for column, meaning in self.column_comments.get(table, {}).items():
            escaped = meaning.replace("'", "''")
            connection.execute(f"COMMENT ON COLUMN {table}.\"{column}\" IS '{escaped}'")

    @contextmanager
    def _writing(self, *, fresh: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """One transaction on the work file, then its publication. A work file without tables is filled from the store first."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path.with_suffix(".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if fresh:
                for path in (self.work_path, self.work_path.with_name(f"{self.work_path.name}.wal")):
                    path.unlink(missing_ok=True)
            connection = self._connect_with_deadline()
            try:
                connection.execute("BEGIN")
                if connection.execute("SELECT count(*) FROM information_schema.tables").fetchall() == [(0,)]:
                    self._load_all(connection)
                yield connection
                connection.execute("COMMIT")
                connection.execute("CHECKPOINT")
            except duckdb.IOException as error:
                raise WarehouseUnusable(f"cannot write {self.work_path}: {error}") from error
            finally:
                connection.close()
            self._publish()

    def _connect_with_deadline(self) -> duckdb.DuckDBPyConnection:
        deadline = time.monotonic() + BUSY_DEADLINE_S
        while True:
            try:
                return duckdb.connect(str(self.work_path))
            except duckdb.IOException as error:
                if "lock" not in str(error):
                    raise WarehouseUnusable(f"cannot open {self.work_path} ({error}): run `lafid rebuild`") from error
                if time.monotonic() > deadline:
                    raise WarehouseUnusable(
                        f"another program holds {self.work_path}: close it and open {self.path.name} instead ({error})"
                    ) from error
                time.sleep(random.uniform(0.05, 0.25))

    def _publish(self) -> None:
        temporary = self.path.with_suffix(".publishing")
        try:
            shutil.copyfile(self.work_path, temporary)
            temporary.replace(self.path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise WarehouseUnusable(f"cannot publish {self.path} ({error.strerror}): free some space") from error


def _form(connection: duckdb.DuckDBPyConnection, table: str) -> pl.Schema | None:
    """Columns and types of a table; None when there is no such table."""
    there = connection.execute("SELECT 1 FROM information_schema.tables WHERE table_name = ?", [table]).fetchall()
    return connection.sql(f"SELECT * FROM {table} LIMIT 0").pl().schema if there else None
