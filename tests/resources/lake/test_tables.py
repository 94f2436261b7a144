"""Tables, columns, comments and views are made from the contracts, and grow with them."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lafid_assets.schemas import TABLES
from lafid_assets.steps.contract import Column, TableSchema
from resources.lake.lake import Lake
from resources.lake.tables import NARROW_BYTES, PARTITIONS, WIDE_BYTES, TableDiffers

BASE = TableSchema(
    "clips",
    "Clips, to the letter: it's.",
    ("clip_id",),
    (Column("clip_id", pl.String, "the clip's id"), Column("shard", pl.String, "its shard"), Column("n", pl.Int32, "a number")),
)
VIEW = TableSchema("shown", "All clips.", ("clip_id",), BASE.columns, view="SELECT clip_id, shard, n FROM clips")
GROWN = dataclasses.replace(BASE, columns=(*BASE.columns, Column("later", pl.List(pl.Float32), "came later", nullable=True)))
FRAME = BASE.frame([{"clip_id": "a", "shard": "s", "n": 1}])


@pytest.fixture
def opened(tmp_path: Path, address: str, open_lake_at: Callable[..., Lake]) -> Callable[..., Lake]:
    def make(*tables: TableSchema) -> Lake:
        lake = open_lake_at(tmp_path / "home", address)
        return Lake(lake.store, lake.catalog, lake.home, tables)

    return make


def test_all_contracts_become_tables(lake: Lake) -> None:
    with lake.snapshot() as reader:
        for table in TABLES:
            assert dict(reader.sql(f"FROM {table.name}").schema) == dict(pl.Schema(table.dtypes))
        comments = reader.sql(
            f"SELECT table_name, column_name, comment FROM duckdb_columns() WHERE database_name = '{reader.name}'"
        )
    told = {(table, column): comment for table, column, comment in comments.rows()}
    for table in TABLES:
        if table.view is None:
            assert {told[table.name, name] for name in table.comments} == set(table.comments.values())


def test_a_view_shows_tables_and_follows_its_contract(opened: Callable[..., Lake]) -> None:
    lake = opened(VIEW, BASE)
    lake.put({"clips": FRAME}, "s", "f")
    assert lake.read("shown", "s").equals(FRAME)
    other = opened(BASE, dataclasses.replace(VIEW, view="SELECT clip_id, shard, n + 1 AS n FROM clips"))
    assert other.read("shown")["n"].to_list() == [2]
    for one in (lake, other):
        one.close()


def test_files_of_a_table_with_lists_of_numbers_may_grow_larger(opened: Callable[..., Lake]) -> None:
    """Also where the table is older than the list."""
    for table, sizes in ((BASE, [NARROW_BYTES]), (GROWN, [NARROW_BYTES, WIDE_BYTES])):
        lake = opened(table)
        with lake.snapshot() as reader:
            told = (
                f"SELECT value FROM {reader.catalog}.ducklake_metadata WHERE key = 'target_file_size' ORDER BY scope NULLS FIRST"
            )
            assert reader.sql(told)["value"].to_list() == list(map(str, sizes))
        lake.close()


def test_a_table_grows_by_columns_that_may_be_null(opened: Callable[..., Lake]) -> None:
    lake = opened(BASE)
    lake.put({"clips": FRAME}, "s", "f")
    grown = opened(GROWN)
    assert grown.read("clips").rows() == [("a", "s", 1, None)]
    grown.put({"clips": GROWN.frame([{"clip_id": "b", "shard": "t", "n": 2, "later": [0.5]}])}, "t", "f")
    assert grown.read("clips")["later"].to_list() == [None, [0.5]]
    assert lake.read("clips").equals(FRAME.vstack(BASE.frame([{"clip_id": "b", "shard": "t", "n": 2}]))), (
        "an older version reads on"
    )
    for one in (lake, grown):
        one.close()


@pytest.mark.parametrize(
    ("column", "match"),
    [(Column("n", pl.String, "a number"), "n is INTEGER, not VARCHAR"), (Column("must", pl.String, "a must"), "must is missing")],
)
def test_other_columns_are_another_versions(opened: Callable[..., Lake], column: Column, match: str) -> None:
    lake = opened(BASE)
    lake.stamps()
    other = opened(dataclasses.replace(BASE, columns=(*(c for c in BASE.columns if c.name != column.name), column)))
    with pytest.raises(TableDiffers, match=rf"the table clips was made by another version of LaFID \({match}\)"):
        other.stamps()
    lake.close()


def test_a_lake_of_before_settings_were_kept_takes_them(opened: Callable[..., Lake]) -> None:
    old = opened(BASE)
    old.put({"clips": FRAME}, "s", "f")
    old.commit(lambda writer: writer.cursor.execute("ALTER TABLE partitions DROP COLUMN settings_sha256"))
    old.close()
    lake = opened(BASE)
    lake.put({"clips": FRAME.clear()}, "t", "f", settings_sha256="sha")
    kept = lake.sql("SELECT partition, settings_sha256 FROM partitions WHERE fingerprint IS NOT NULL ORDER BY ALL")
    assert kept.rows() == [("s", None), ("t", "sha")]
    lake.close()


def test_statistics_that_are_begun_before_the_rows_come_to_the_same(
    open_lake_at: Callable[..., Lake], rows_of: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every table has some from the beginning, or DuckLake asks for them again and again."""

    def told(home: str) -> dict[str, list[Any]]:
        lake = open_lake_at(tmp_path / home)
        lake.put(rows_of("s", 3, count=2), "s", "f")
        measures, ends = rows_of("t", -2).values()
        lake.put({"measures": measures.with_columns(value=pl.lit(0.5)), "ends": ends}, "t", "f")
        with lake.snapshot() as reader:
            rows = reader.cursor.execute(
                f"SELECT table_name, column_id, record_count, next_row_id, contains_null, contains_nan, min_value, max_value "
                f"FROM {reader.catalog}.ducklake_table_stats LEFT JOIN {reader.catalog}.ducklake_table_column_stats "
                f"USING (table_id) JOIN {reader.catalog}.ducklake_table USING (table_id) ORDER BY ALL"
            ).fetchall()
        found: dict[str, list[Any]] = {}
        for table, *facts in rows:
            found.setdefault(table, []).append(facts)
        return found

    begun = told("begun")
    monkeypatch.setattr("resources.lake.connection.begin_statistics", lambda *_: None)
    later = told("later")
    written = {PARTITIONS, "measures", "ends"}
    assert later.keys() == written
    assert begun.keys() == written | {"totals", "said"}
    assert [begun[table] for table in ("measures", "ends")] == [later[table] for table in ("measures", "ends")]


def test_opening_again_makes_no_snapshot(opened: Callable[..., Lake]) -> None:
    numbers = []
    for _ in range(2):
        lake = opened(BASE, VIEW)
        with lake.snapshot() as reader:
            numbers.append(reader.snapshot())
        lake.close()
    assert numbers[0] == numbers[1]
