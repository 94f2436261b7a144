"""How the lake's tables are made from the contracts.

Belongs here: tables, columns, comments, views and the slots of `partitions`. Not here: what goes into them (`lake`).
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

import duckdb
import polars as pl

from resources.duckdb_extensions import quoted

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
_PARTITIONS_DDL = (
    f"CREATE TABLE {PARTITIONS} (table_name VARCHAR NOT NULL, partition VARCHAR NOT NULL, fingerprint VARCHAR, digest VARCHAR, "
    "row_count BIGINT NOT NULL, token BIGINT NOT NULL, written_at TIMESTAMPTZ)"
)


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


def prepare_tables(connection: duckdb.DuckDBPyConnection, lake: str, tables: Sequence[LakeTable]) -> None:
    """Make what is missing of tables, columns and views; a table may grow by columns that may be NULL.

    Args:
        connection: uses the lake.
        lake: the name under which the lake is attached.

    Raises:
        TableDiffers: a table has other columns, and only another version of LaFID can use it.
    """
    for attempt in range(MOST_TRIES):
        statements = list(_missing(connection, lake, tables))
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


def _missing(connection: duckdb.DuckDBPyConnection, lake: str, tables: Sequence[LakeTable]) -> Iterable[str]:
    there: dict[str, dict[str, str]] = {}
    rows = connection.execute(f"SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE database_name = '{lake}'")
    for table, column, kind in rows.fetchall():
        there.setdefault(table, {})[column] = kind.replace('"', "")
    if PARTITIONS not in there:
        yield f"CALL {lake}.set_option('parquet_compression', 'zstd')"
        yield _PARTITIONS_DDL
        yield f"INSERT INTO {PARTITIONS} VALUES ('', '{ANY}', NULL, NULL, 0, 0, NULL)"
    for table in tables:
        if table.view is None and table.name not in there:
            yield from _create(table)
        elif table.view is None:
            yield from _grow(table, there[table.name])
    known = dict(connection.execute(f"SELECT view_name, comment FROM duckdb_views() WHERE database_name = '{lake}'").fetchall())
    for table in tables:
        if table.view is not None:
            mark = f"{table.doc} [{hashlib.sha256(table.view.encode()).hexdigest()[:16]}]"
            if known.get(table.name) != mark:
                yield f"CREATE OR REPLACE VIEW {table.name} AS {table.view}"
                yield f"COMMENT ON VIEW {table.name} IS {quoted(mark)}"


def _columns(table: LakeTable) -> dict[str, str]:
    """Column to its type in SQL, as DuckDB spells it."""
    return {name: _sql_type(dtype) for name, dtype in table.dtypes.items()}


def _sql_type(dtype: Any) -> str:
    if isinstance(dtype, pl.List):
        return f"{_sql_type(dtype.inner)}[]"
    if isinstance(dtype, pl.Struct):
        return f"STRUCT({', '.join(f'{field.name} {_sql_type(field.dtype)}' for field in dtype.fields)})"
    return _SQL_TYPES[dtype if isinstance(dtype, type) else type(dtype)]


def _create(table: LakeTable) -> Iterable[str]:
    columns = ", ".join(
        f'"{name}" {kind}{"" if name in table.nullable else " NOT NULL"}' for name, kind in _columns(table).items()
    )
    yield f"CREATE TABLE {table.name} ({columns})"
    yield f"COMMENT ON TABLE {table.name} IS {quoted(table.doc)}"
    for name, meaning in table.comments.items():
        yield f'COMMENT ON COLUMN {table.name}."{name}" IS {quoted(meaning)}'


def _grow(table: LakeTable, there: Mapping[str, str]) -> Iterable[str]:
    wanted = _columns(table)
    other = [f"{name} is {there[name]}, not {kind}" for name, kind in wanted.items() if name in there and there[name] != kind]
    new = [name for name in wanted if name not in there]
    other += [f"{name} is missing" for name in new if name not in table.nullable]
    if other:
        raise TableDiffers(
            f"the table {table.name} was made by another version of LaFID ({'; '.join(other[:3])}): use that version, or set "
            "LAFID_STORE to a new folder and curate into it"
        )
    for name in new:
        yield f'ALTER TABLE {table.name} ADD COLUMN "{name}" {wanted[name]}'
        yield f'COMMENT ON COLUMN {table.name}."{name}" IS {quoted(table.comments[name])}'
