"""Reading the lake in one transaction: what it holds at one moment.

Belongs here: SQL and tables to frames, and the stamps of partitions. Not here: opening the lake, writing (`lake`).
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import polars as pl

from resources.lake.duckdb_extensions import bound, quoted
from resources.lake.frames import lent
from resources.lake.tables import PARTITIONS, LakeTable, metadata_of

KEPT_S = 3600.0
"""How long a snapshot is kept after the transaction began that replaced it."""
LONGEST_S = 0.45 * KEPT_S
"""How long a transaction may take: what it reads is there for twice as long, even when a like one replaced it."""


class TooSlow(RuntimeError):
    """A transaction took so long that what it reads may have been removed."""


class TableMissing(LookupError):
    """A table or partition has not been written yet; the message names it and the remedy."""


@dataclass(frozen=True)
class Stamp:
    """What the lake says of one partition of a table.

    Attributes:
        fingerprint: hash of what it was computed from.
        digest: hash of what it holds.
        rows: how many rows it has.
    """

    fingerprint: str
    digest: str
    rows: int


Stamps = Mapping[tuple[str, str], Stamp]


class Reader:
    """One transaction of the lake.

    Attributes:
        name: under which DuckDB knows the lake, for its own functions; statements need no name.
        catalog: under which it knows the lake's own tables.
    """

    def __init__(self, tables: Mapping[str, LakeTable], cursor: duckdb.DuckDBPyConnection, name: str) -> None:
        self.tables, self.cursor, self.name = tables, cursor, name
        self.catalog = metadata_of(name)
        self._begun = time.monotonic()

    def require_young(self) -> None:
        """Make sure that what this transaction reads is still there, and what others wrote meanwhile still known.

        Raises:
            TooSlow: it may be gone.
        """
        if time.monotonic() - self._begun > LONGEST_S:
            raise TooSlow(f"a transaction of the lake takes longer than {LONGEST_S:.0f} s: run the command again")

    def read(
        self,
        table: str,
        partition: str | None = None,
        columns: Sequence[str] = (),
        where: str = "",
        parameters: Sequence[Any] = (),
    ) -> pl.DataFrame:
        """Rows of a table in the order of its key; of one partition, of some columns, of those that meet a condition.

        Args:
            partition: None for all of them.
            where: a condition in SQL, with `?` for each of `parameters`.

        Raises:
            TableMissing: the partition, or any partition, has not been written yet.
        """
        contract = self.tables[table]
        conditions = ["shard = ?"] if partition is not None and contract.partitioned else []
        wanted = ", ".join(f'"{name}"' for name in columns or contract.dtypes)
        narrowed = " AND ".join([*conditions, *([f"({where})"] if where else [])])
        order = ", ".join(f'"{name}"' for name in contract.key)
        query = f"SELECT {wanted} FROM {table}{f' WHERE {narrowed}' if narrowed else ''} ORDER BY {order}"
        rows = self.sql(query, [*([partition] if conditions else []), *parameters])
        always_there = contract.appended or contract.view is not None
        # Asked only of what is empty: a step reads several tables, and each question to the catalog costs as much as the rows.
        if rows.is_empty() and not always_there and not self.stamps([table], () if partition is None else [partition]):
            what = f"the table {table} is empty" if partition is None else f"the table {table} has no partition {partition}"
            raise TableMissing(f"{what}: materialize the asset {table} first")
        return rows

    def sql(self, query: str, parameters: Sequence[Any] = (), **frames: pl.DataFrame) -> pl.DataFrame:
        """What a statement gives, as a frame.

        Args:
            frames: further tables that the statement may name.
        """
        self.require_young()
        with lent(self.cursor, **frames):
            return self.cursor.execute(bound(query, parameters)).pl()

    def stamps(self, tables: Iterable[str] = (), partitions: Iterable[str] = ()) -> dict[tuple[str, str], Stamp]:
        """(table, partition) to what the lake says of it, of all that have been written; one question for all of them.

        Args:
            tables, partitions: none of them stands for all.
        """
        self.require_young()
        names, shards = list(tables), list(partitions)
        conditions = ["fingerprint IS NOT NULL"]
        conditions += [f"table_name IN ({', '.join(map(quoted, names))})"] if names else []
        conditions += [f"partition IN ({', '.join(map(quoted, shards))})"] if shards else []
        rows = self.cursor.execute(
            f"SELECT table_name, partition, fingerprint, digest, row_count FROM {PARTITIONS} WHERE {' AND '.join(conditions)} "
            "ORDER BY table_name, partition"
        ).fetchall()
        return {(table, name): Stamp(*rest) for table, name, *rest in rows}

    def row_count(self, table: str) -> int:
        """The rows of all partitions of a table, as their stamps have them: nothing of the table is read."""
        [(rows,)] = self.cursor.execute(
            f"SELECT coalesce(sum(row_count), 0)::BIGINT FROM {PARTITIONS} "
            f"WHERE table_name = {quoted(table)} AND fingerprint IS NOT NULL"
        ).fetchall()
        return int(rows)

    def slots(self, tables: Sequence[str], partitions: Sequence[str]) -> dict[tuple[str, str], tuple[int, int]]:
        """(table, partition) to its rows and fencing token, of those that have been written."""
        if not tables:
            return {}
        rows = self.cursor.execute(
            f"SELECT table_name, partition, row_count, token FROM {PARTITIONS} "
            f"WHERE partition IN ({', '.join(map(quoted, partitions))}) AND table_name IN ({', '.join(map(quoted, tables))})"
        ).fetchall()
        return {(table, partition): (count, token) for table, partition, count, token in rows}

    def snapshot(self) -> int:
        """The number of the lake's snapshot that this transaction reads."""
        [(number,)] = self.cursor.execute(f"SELECT id FROM ducklake_current_snapshot('{self.name}')").fetchall()
        return int(number)
