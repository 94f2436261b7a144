"""Reading the lake in one transaction."""

from collections.abc import Callable
from typing import Any

import duckdb
import polars as pl
import pytest

from resources.lake.lake import Lake


@pytest.mark.parametrize("address", ["sqlite"], indirect=True)
def test_rows_come_in_the_order_of_the_key(small_lake: Lake, rows_of: Callable[..., Any]) -> None:
    for shard in ("s1", "s0"):
        small_lake.put({"ends": rows_of(shard, 1, 300)["ends"].reverse()}, shard, "f")
    read = small_lake.read("ends")
    assert read["clip_id"].to_list() == sorted(read["clip_id"])
    assert small_lake.read("ends", "s1", ["n", "shard"]).unique().rows() == [(1, "s1")]


@pytest.mark.parametrize("address", ["sqlite"], indirect=True)
def test_conditions_take_values(small_lake: Lake, rows_of: Callable[..., Any]) -> None:
    small_lake.put(rows_of("it's", 1), "it's", "f")
    with small_lake.snapshot() as reader:
        found = reader.read("ends", "it's", ["clip_id"], "clip_id = ? OR clip_id = ?", ["it's-3", "?"])
    assert found["clip_id"].to_list() == ["it's-3"]


@pytest.mark.parametrize("address", ["sqlite"], indirect=True)
def test_frames_may_be_named_in_a_statement(small_lake: Lake, rows_of: Callable[..., Any]) -> None:
    small_lake.put(rows_of("s", 1), "s", "f")
    wanted = pl.DataFrame({"clip_id": ["s-1", "s-2"]})
    assert (
        small_lake.sql("SELECT count(*) AS n FROM ends JOIN wanted USING (clip_id) WHERE n < ?", [5], wanted=wanted).item() == 2
    )
    with pytest.raises(duckdb.Error, match="wanted"):
        small_lake.sql("FROM wanted")


def test_stamps_of_some_or_all(small_lake: Lake, rows_of: Callable[..., Any]) -> None:
    for shard in ("s0", "s1"):
        small_lake.put(rows_of(shard, 1), shard, f"f-{shard}")
    assert set(small_lake.stamps()) == {(table, shard) for table in ("ends", "measures") for shard in ("s0", "s1")}
    (stamp,) = small_lake.stamps(["ends"], ["s1"]).values()
    assert (stamp.fingerprint, stamp.rows, len(stamp.digest)) == ("f-s1", 50, 64)
    before = small_lake.stamps(["ends"], ["s1"])
    small_lake.put(rows_of("s1", 2), "s1", "f-s1")
    assert small_lake.stamps(["ends"], ["s1"]) != before


READ = """
lake.read("ends", "s", ["n"], "n > 0")
lake.sql("SELECT ?", ["a"])
assert "pandas" not in sys.modules
"""


def test_rows_of_a_table_are_counted_from_its_stamps(small_lake: Lake, rows_of: Callable[..., Any]) -> None:
    assert small_lake.row_count("ends") == 0
    for shard, rows in (("s0", 3), ("s1", 2)):
        small_lake.put({"ends": rows_of(shard, 1, rows)["ends"]}, shard, "f")
    assert small_lake.row_count("ends") == 5
    small_lake.commit(lambda writer: writer.cursor.execute("UPDATE partitions SET fingerprint = NULL WHERE partition = 's1'"))
    assert small_lake.row_count("ends") == 3, "what was forgotten is not there"


def test_reading_imports_no_pandas(small_lake: Lake, rows_of: Callable[..., Any], elsewhere: Callable[..., Any]) -> None:
    small_lake.put(rows_of("s", 1), "s", "f")
    reader = elsewhere(READ)
    _, said = reader.communicate(timeout=900)
    assert reader.returncode == 0, said


@pytest.mark.parametrize("address", ["sqlite"], indirect=True)
def test_a_mistake_in_sql_is_told_as_duckdb_tells_it(small_lake: Lake) -> None:
    with pytest.raises(duckdb.CatalogException, match="nonsense"):
        small_lake.sql("FROM nonsense")
    assert small_lake.sql("SELECT 1 AS one").item() == 1
