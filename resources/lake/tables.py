"""How the lake's tables are made from the contracts.

Belongs here: tables, columns, comments, views and the slots of `partitions`. Not here: what goes into them (`lake`).
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

import duckdb
import polars as pl

from resources.lake.duckdb_extensions import quoted

PARTITIONS = "partitions"
ANY = "*"
_SQL_TYPES: Mapping[Any, str] = {
    pl.String: "VARCHAR",
    pl.Boolean: "BOOLEAN",
    pl.Int16: "SMALLINT",
    pl.Int32: "INTEGER",
    pl.Int64: "BIGINT",
    pl.Float32: "FLOAT",
    pl.Float64: "DOUBLE",
}
MOST_TRIES = 20
NARROW_BYTES, WIDE_BYTES = 2 << 20, 8 << 20
_PARTITIONS_DDL = (
    f"CREATE TABLE {PARTITIONS} (table_name VARCHAR NOT NULL, partition VARCHAR NOT NULL, fingerprint VARCHAR, digest VARCHAR, "
    "row_count BIGINT NOT NULL, token BIGINT NOT NULL, written_at TIMESTAMPTZ, settings_sha256 VARCHAR)"
)
_SIZE = "target_file_size"
_SIZED = (
    "SELECT table_name FROM {catalog}.ducklake_table JOIN {catalog}.ducklake_metadata ON scope = 'table' AND scope_id = table_id "
    f"WHERE key = '{_SIZE}' AND end_snapshot IS NULL"
)
_SETTINGS = "settings_sha256"
"""The column that lakes of an earlier version lack."""


def metadata_of(lake: str) -> str:
    """The name under which DuckDB knows the own tables of a lake that is attached under a name."""
    return f"__ducklake_metadata_{lake}"


class LakeTable(Protocol):
    """What the lake must know of a table."""

    @property
    def name(self) -> str: ...
    @property
    def doc(self) -> str: ...
    @property
    def key(self) -> tuple[str, ...]: ...
    @property
    def dtypes(self) -> Mapping[str, Any]: ...
    @property
    def comments(self) -> Mapping[str, str]: ...
    @property
    def nullable(self) -> frozenset[str]: ...
    @property
    def partitioned(self) -> bool: ...
    @property
    def appended(self) -> bool: ...
    @property
    def view(self) -> str | None: ...


class TableDiffers(OSError):
    """A table was made under another contract, by another version of LaFID."""


def file_bytes(table: LakeTable | None) -> int:
    """How large the files of a table, or of `partitions`, may grow.

    Who is forgotten costs a whole file of each table, and its rows cost more than its bytes: where they hold no lists of numbers,
    a hundred times as many take the same place.
    """
    lists = [dtype.inner for dtype in table.dtypes.values() if isinstance(dtype, pl.List)] if table is not None else []
    return WIDE_BYTES if any(inner.is_numeric() for inner in lists) else NARROW_BYTES


def prepare_tables(connection: duckdb.DuckDBPyConnection, lake: str, tables: Sequence[LakeTable]) -> None:
    """Make what is missing of tables, columns and views; a table may grow by columns that may be NULL.

    Args:
        connection: uses the lake.
        lake: the name under which the lake is attached.

    Raises:
        TableDiffers: a table has other columns, and only another version of LaFID can use it.
    """
    for attempt in range(MOST_TRIES):
        # In one transaction: DuckDB opens a catalog in SQLite anew for each.
        connection.execute("BEGIN")
        try:
            statements = list(_missing(connection, lake, tables))
        finally:
            with suppress(duckdb.Error):  # its server is gone
                connection.execute("ROLLBACK")
        if not statements:
            return
        connection.execute("BEGIN")
        try:
            for statement in statements:
                connection.execute(statement)
            connection.execute("COMMIT")
        except duckdb.Error:
            # Another process makes the same tables.
            with suppress(duckdb.Error):  # a failed COMMIT has rolled back already
                connection.execute("ROLLBACK")
            if attempt == MOST_TRIES - 1:
                raise


def has_tables(connection: duckdb.DuckDBPyConnection, lake: str) -> bool:
    """Whether `prepare_tables` has made them; they come all at once."""
    there = f"FROM {metadata_of(lake)}.ducklake_table WHERE table_name = '{PARTITIONS}' AND end_snapshot IS NULL"
    return connection.execute(f"SELECT 1 {there}").fetchone() is not None


def begin_statistics(connection: duckdb.DuckDBPyConnection, lake: str) -> None:
    """Statistics of no rows for tables that have none yet, as DuckLake keeps them from a table's first rows on.

    DuckLake remembers what it found, but not that it found nothing: of a table that was never written it asked the catalog for
    each column in each statement, and half of what a small home computes was that. Nobody else may be at the catalog.

    Args:
        connection: uses the lake.
        lake: the name under which the lake is attached.
    """
    catalog = metadata_of(lake)
    without = (
        f"SELECT table_id FROM {catalog}.ducklake_table WHERE end_snapshot IS NULL "
        f"AND table_id NOT IN (SELECT table_id FROM {catalog}.ducklake_table_stats)"
    )
    ids = [number for (number,) in connection.execute(without).fetchall()]
    if not ids:
        return
    of_them = f"table_id IN ({', '.join(map(str, ids))})"
    # Of a list or a structure DuckLake counts the values inside.
    connection.execute("BEGIN")
    connection.execute(
        f"INSERT INTO {catalog}.ducklake_table_column_stats BY NAME "
        f"SELECT table_id, column_id, false AS contains_null, false AS contains_nan FROM {catalog}.ducklake_column one "
        f"WHERE end_snapshot IS NULL AND {of_them} AND NOT EXISTS (SELECT 1 FROM {catalog}.ducklake_column inside "
        "WHERE inside.table_id = one.table_id AND inside.parent_column = one.column_id AND inside.end_snapshot IS NULL)"
    )
    connection.execute(
        f"INSERT INTO {catalog}.ducklake_table_stats BY NAME SELECT table_id, 0 AS record_count, 0 AS next_row_id, "
        f"0 AS file_size_bytes FROM {catalog}.ducklake_table WHERE {of_them} AND end_snapshot IS NULL"
    )
    connection.execute("COMMIT")


def _missing(connection: duckdb.DuckDBPyConnection, lake: str, tables: Sequence[LakeTable]) -> Iterable[str]:
    # DuckDB's own lists, such as duckdb_columns(), ask every database that the process has open, also one whose server is gone.
    catalog = metadata_of(lake)
    there = dict(
        connection.execute(
            f"SELECT name, value FROM (SELECT table_id AS id, table_name AS name FROM {catalog}.ducklake_table "
            f"WHERE end_snapshot IS NULL UNION ALL SELECT view_id, view_name FROM {catalog}.ducklake_view "
            f"WHERE end_snapshot IS NULL) LEFT JOIN (SELECT object_id AS id, value FROM {catalog}.ducklake_tag "
            "WHERE key = 'comment' AND end_snapshot IS NULL) USING (id)"
        ).fetchall()
    )
    if PARTITIONS not in there:
        yield f"CALL {lake}.set_option('parquet_compression', 'zstd')"
        yield f"CALL {lake}.set_option('{_SIZE}', '{NARROW_BYTES >> 20}MiB')"
        yield _PARTITIONS_DDL
        yield f"INSERT INTO {PARTITIONS} VALUES ('', '{ANY}', NULL, NULL, 0, 0, NULL, NULL)"
    elif not connection.execute(
        f"SELECT 1 FROM {catalog}.ducklake_column JOIN {catalog}.ducklake_table USING (table_id) WHERE table_name = "
        f"'{PARTITIONS}' AND column_name = '{_SETTINGS}' AND ducklake_column.end_snapshot IS NULL"
    ).fetchall():  # to the end: a half-read answer keeps the catalog in use
        yield f"ALTER TABLE {PARTITIONS} ADD COLUMN {_SETTINGS} VARCHAR"
    sized = {name for (name,) in connection.execute(_SIZED.format(catalog=catalog)).fetchall()}
    for table in sorted(tables, key=lambda table: table.view is not None):  # views show tables
        mark = _mark(table)
        # Not in the transaction that makes the table.
        if table.view is None and table.name in there and table.name not in sized and file_bytes(table) != NARROW_BYTES:
            yield f"CALL {lake}.set_option('{_SIZE}', '{file_bytes(table) >> 20}MiB', table_name => '{table.name}')"
        if there.get(table.name) == mark:
            continue
        if table.view is not None:
            yield f"CREATE OR REPLACE VIEW {table.name} AS {table.view}"
            yield f"COMMENT ON VIEW {table.name} IS {quoted(mark)}"
        else:
            yield from _grow(connection, table) if table.name in there else _create(table)
            yield f"COMMENT ON TABLE {table.name} IS {quoted(mark)}"


def _mark(table: LakeTable) -> str:
    """The comment of a table or view: what it is, and a hash of its form."""
    form = table.view or repr([_columns(table), sorted(table.nullable), dict(table.comments)])
    return f"{table.doc} [{hashlib.sha256(form.encode()).hexdigest()[:16]}]"


def _columns(table: LakeTable) -> dict[str, str]:
    """Column to its type in SQL, as DuckDB spells it."""
    return {name: _sql_type(dtype) for name, dtype in table.dtypes.items()}


def _sql_type(dtype: Any) -> str:
    if isinstance(dtype, pl.List):
        return f"{_sql_type(dtype.inner)}[]"
    if isinstance(dtype, pl.Struct):
        return "STRUCT({})".format(", ".join(f'"{field.name}" {_sql_type(field.dtype)}' for field in dtype.fields))
    return _SQL_TYPES[dtype if isinstance(dtype, type) else type(dtype)]


def _create(table: LakeTable) -> Iterable[str]:
    columns = ", ".join(
        f'"{name}" {kind}{"" if name in table.nullable else " NOT NULL"}' for name, kind in _columns(table).items()
    )
    yield f"CREATE TABLE {table.name} ({columns})"
    for name, meaning in table.comments.items():
        yield f'COMMENT ON COLUMN {table.name}."{name}" IS {quoted(meaning)}'


def _grow(connection: duckdb.DuckDBPyConnection, table: LakeTable) -> Iterable[str]:
    rows = connection.execute(f"DESCRIBE {table.name}").fetchall()
    there = {column: kind.replace('"', "") for column, kind, *_ in rows}
    wanted = _columns(table)
    plain = {name: kind.replace('"', "") for name, kind in wanted.items()}
    other = [f"{name} is {there[name]}, not {kind}" for name, kind in plain.items() if there.get(name, kind) != kind]
    new = [name for name in wanted if name not in there]
    other += [f"{name} is missing" for name in new if name not in table.nullable]
    if other:
        raise TableDiffers(
            f"the table {table.name} was made by another version of LaFID ({'; '.join(other[:3])}): use that version, or set "
            "LAFID_STORE to a new folder and curate into it"
        )
    for name in new:
        yield f'ALTER TABLE {table.name} ADD COLUMN "{name}" {wanted[name]}'
    for name, meaning in table.comments.items():
        yield f'COMMENT ON COLUMN {table.name}."{name}" IS {quoted(meaning)}'
