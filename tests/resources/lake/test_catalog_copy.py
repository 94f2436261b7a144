"""A lost catalog comes back from its copy in the store, or the user learns why not and what is lost."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from resources.lake import catalog_copy
from resources.lake.catalog import CatalogUnusable
from resources.lake.duckdb_extensions import duckdb_cursor, quoted
from resources.lake.lake import Lake
from resources.lake.ownership import read_record
from resources.lake.upkeep import compact, drop_all_history
from resources.lake.writer import Fenced
from resources.store.file_store import FileStore
from tests.kills import Killed, killed_at
from tests.postgres import execute

Open = Callable[..., Lake]
Rows = Callable[..., dict[str, pl.DataFrame]]
TABLES = ("measures", "ends", "totals", "said", "partitions")


def _filled(lake: Lake, rows_of: Rows) -> dict[str, pl.DataFrame]:
    """A lake with rows in files and in the catalog, with deleted ones of both; what it holds."""
    odd = rows_of("few", 1, 4)["measures"].with_columns(
        text=pl.Series(["", "it's\nNULL", "漢字 🎬", None]), value=pl.Series([1 / 3, -0.0, 5e-324, None])
    )
    lake.put({"measures": odd}, "few", "f")
    for shard, n, count in (("many", 1, 300), ("many", 2, 200), ("again", 1, 4), ("again", 2, 4)):
        lake.put(rows_of(shard, n, count), shard, str(n))
    lake.put({"totals": pl.DataFrame({"n": [1, 2]}), "said": pl.DataFrame({"sha": ["a"], "json": ["{}"]})}, fingerprint="x")
    lake.commit(lambda writer: writer.cursor.execute("DELETE FROM measures WHERE clip_id IN ('many-7', 'again-1')"))
    return _held(lake)


def _held(lake: Lake) -> dict[str, pl.DataFrame]:
    """Its rows, but for the fencing tokens, which rise when the catalog is made anew."""
    with lake.snapshot() as reader:
        return {table: reader.sql(f"FROM {table} ORDER BY ALL").drop("token", strict=False) for table in TABLES}


def _same(one: dict[str, pl.DataFrame], other: dict[str, pl.DataFrame]) -> bool:
    return all(one[table].equals(other[table]) for table in TABLES)


def _lose(lake: Lake) -> None:
    if (path := lake.catalog.sqlite_path) is not None:
        log = path.with_name(f"{path.name}-wal")
        left = log.read_bytes() if log.exists() else b""
        lake.close()
        path.unlink()
        log.write_bytes(left)
        return
    lake.close()
    with lake.catalog.opened(writing=True) as cursor:
        for (table,) in cursor.execute("SHOW TABLES").fetchall():
            cursor.execute(f"DROP TABLE {table}")


def _definitions(lake: Lake) -> list[Any]:
    """Columns, types and keys of the catalog's own tables."""
    lake.close()
    with lake.catalog.opened() as cursor:
        tables = [name for (name,) in cursor.execute("SHOW TABLES").fetchall() if name != "lafid_leases"]
        return [(name, cursor.execute(f"DESCRIBE {name}").fetchall()) for name in tables]


def test_lost_catalog_comes_back(tmp_path: Path, address: str, small_lake: Lake, open_lake_at: Open, rows_of: Rows) -> None:
    before, stamps = _filled(small_lake, rows_of), small_lake.stamps()
    catalog_copy.copy(small_lake)
    defined = _definitions(small_lake)
    _lose(small_lake)
    lake = open_lake_at(tmp_path / "home", address)
    with pytest.raises(CatalogUnusable, match="lafid rebuild"):
        lake.stamps()
    done = catalog_copy.restore(lake)
    assert (done.lost, done.missing) == ({}, {})
    assert done.made_at is not None
    assert str(done).startswith(f"the catalog of {lake.store.uri} is as it was at {done.made_at} (snapshot {done.snapshot});")
    assert _same(_held(lake), before)
    assert lake.stamps() == stamps
    assert _definitions(lake) == defined
    lake.put(rows_of("many", 3, 20), "many", "3")
    lake.put(rows_of("new", 1, 4), "new", "1")
    assert lake.read("ends", "many")["n"].to_list() == [3] * 20
    assert lake.read("ends", "new").height == 4
    catalog_copy.copy(lake)
    _lose(lake)
    catalog_copy.restore(lake)
    assert lake.read("ends", "many")["n"].to_list() == [3] * 20


def test_what_was_written_after_the_copy_is_named(small_lake: Lake, rows_of: Rows) -> None:
    small_lake.put(rows_of("s0", 1, 50), "s0", "1")
    catalog_copy.copy(small_lake)
    small_lake.put(rows_of("s0", 2, 50), "s0", "2")
    small_lake.put(rows_of("s1", 1, 50), "s1", "1")
    _lose(small_lake)
    done = catalog_copy.restore(small_lake)
    assert done.lost == {"measures": ("s0", "s1"), "ends": ("s0", "s1")}
    assert "whose rows are lost: ends (s0, s1), measures (s0, s1)" in str(done)
    assert {name: stamp.fingerprint for name, stamp in small_lake.stamps().items()} == {
        ("ends", "s0"): "1",
        ("measures", "s0"): "1",
    }
    small_lake.put(rows_of("s1", 1, 50), "s1", "1")
    assert small_lake.read("ends").height == 100


def test_who_was_thought_dead_before_the_loss_writes_nothing(small_lake: Lake, rows_of: Rows) -> None:
    with small_lake.leases.held("s0") as early:
        small_lake.put(rows_of("s0", 1), "s0", "1", token=early.token)
        catalog_copy.copy(small_lake)
        small_lake.put(rows_of("s0", 2), "s0", "2", token=early.token + 1)
        _lose(small_lake)
        catalog_copy.restore(small_lake)
        with pytest.raises(Fenced, match="s0 was written by a later run"):
            small_lake.put(rows_of("s0", 3), "s0", "3", token=early.token)
    assert small_lake.stamps()["ends", "s0"].fingerprint == "1"


def test_files_that_are_gone_are_named(tmp_path: Path, open_lake_at: Open, rows_of: Rows) -> None:
    lake = open_lake_at(tmp_path / "home")
    lake.put(rows_of("s0", 1, 50), "s0", "1")
    catalog_copy.copy(lake)
    _lose(lake)
    lake.store.remove("tables/main/ends")
    done = catalog_copy.restore(lake)
    assert done.missing == {"ends": 1}
    assert "gone from the store, so that these tables cannot be read: ends (1)" in str(done)


def test_a_compaction_brings_the_copy_up_to_date(small_lake: Lake, rows_of: Rows) -> None:
    small_lake.put(rows_of("s0", 1, 50), "s0", "1")
    catalog_copy.copy(small_lake)
    small_lake.put(rows_of("s0", 2, 50), "s0", "2")
    compact(small_lake, kept_s=0)
    _lose(small_lake)
    done = catalog_copy.restore(small_lake)
    assert (done.lost, done.missing) == ({}, {})
    assert small_lake.read("ends")["n"].unique().to_list() == [2]


def test_whole_catalog_is_refused(small_lake: Lake, rows_of: Rows) -> None:
    small_lake.put(rows_of("s0", 1), "s0", "1")
    catalog_copy.copy(small_lake)
    small_lake.put(rows_of("s0", 2), "s0", "2")
    with pytest.raises(CatalogUnusable, match="is whole and belongs to the store .*: there is nothing to do"):
        catalog_copy.restore(small_lake)
    assert small_lake.read("ends")["n"].unique().to_list() == [2]


def test_a_catalog_from_an_old_backup_is_brought_up_to_the_copy(
    tmp_path: Path, address: str, small_lake: Lake, open_lake_at: Open, rows_of: Rows
) -> None:
    """It names files that are gone, and takes those for orphans that it does not know."""
    small_lake.put(rows_of("s0", 1), "s0", "1")
    small_lake.close()
    back = _backed_up(small_lake, tmp_path)
    small_lake.put(rows_of("s0", 2), "s0", "2")
    small_lake.put(rows_of("s1", 1), "s1", "1")
    small_lake.put(rows_of("few", 1, 3), "few", "1")
    compact(small_lake, kept_s=0)
    held = _held(small_lake)
    small_lake.close()
    lake, files = open_lake_at(tmp_path / "home", back()), small_lake.store.list_tree("tables")
    with pytest.raises(OSError, match="cannot read or write the tables"):
        lake.read("ends")
    for act in (catalog_copy.copy, compact, lambda lake: drop_all_history(lake, {"ends": "false"})):
        with pytest.raises(CatalogUnusable, match="is older than its copy in the store, .*: run `lafid rebuild`"):
            act(lake)
    lake.put(rows_of("s2", 1), "s2", "1")
    done = catalog_copy.restore(lake)
    assert (done.lost, done.missing) == ({"ends": ("s2",), "measures": ("s2",)}, {})
    assert _same(_held(lake), held)
    assert set(files) <= set(lake.store.list_tree("tables"))
    lake.put(rows_of("s0", 3), "s0", "3")
    catalog_copy.copy(lake)
    with pytest.raises(CatalogUnusable, match="there is nothing to do"):
        catalog_copy.restore(lake)


def _backed_up(lake: Lake, folder: Path) -> Callable[[], str]:
    """Keeps the catalog as it is; gives what brings it back, and tells its address."""
    if (path := lake.catalog.sqlite_path) is not None:
        kept = shutil.copy(path, folder)

        def bring_back() -> str:
            for left in path.parent.glob(f"{path.name}*"):
                left.unlink()
            shutil.copy(kept, path)
            return ""

        return bring_back
    server, _, name = lake.catalog.url.rpartition("/")
    execute(server, f"CREATE DATABASE {name}_kept TEMPLATE {name}")

    def bring_database_back() -> str:
        execute(server, f"DROP DATABASE {name}")
        execute(server, f"ALTER DATABASE {name}_kept RENAME TO {name}")
        return lake.catalog.url

    return bring_database_back


def test_a_damaged_copy_is_made_anew(small_lake: Lake, rows_of: Rows) -> None:
    small_lake.put(rows_of("s0", 1), "s0", "1")
    small_lake.store.write_bytes(catalog_copy.COPY, b"half")
    catalog_copy.copy(small_lake)
    _lose(small_lake)
    assert catalog_copy.restore(small_lake).lost == {}


def test_another_home_takes_the_store_over(tmp_path: Path, open_lake_at: Open, rows_of: Rows) -> None:
    one = open_lake_at(tmp_path / "one")
    one.put(rows_of("s0", 1), "s0", "1")
    one.close()
    two = open_lake_at(tmp_path / "two", "", one.store.uri)
    before = read_record(one.store)
    assert str(catalog_copy.restore(two)).startswith(f"the store {one.store.uri} is this home's now")
    assert two.read("ends").height == 50
    after = read_record(two.store)
    assert before is not None
    assert after is not None
    assert (after["catalog"], after["home"] == before["home"]) == (before["catalog"], False)
    with pytest.raises(CatalogUnusable, match="is another home's"):
        open_lake_at(tmp_path / "one").stamps()


def test_without_a_copy_there_is_advice(tmp_path: Path, open_lake_at: Open, rows_of: Rows) -> None:
    lake = open_lake_at(tmp_path / "home")
    lake.put(rows_of("s0", 1), "s0", "1")
    _lose(lake)
    with pytest.raises(CatalogUnusable, match=r"holds no copy of its catalog .*: set LAFID_STORE to a new folder and run"):
        catalog_copy.restore(lake)


def test_database_with_tables_and_copy_of_another_kind_are_refused(
    tmp_path: Path, postgres_url: str, open_lake_at: Open, rows_of: Rows
) -> None:
    lake = open_lake_at(tmp_path / "home")
    lake.put(rows_of("s0", 1), "s0", "1")
    catalog_copy.copy(lake)
    other = open_lake_at(tmp_path / "home", postgres_url, lake.store.uri)
    with pytest.raises(CatalogUnusable, match="is of a catalog in sqlite: set LAFID_CATALOG as it was"):
        catalog_copy.restore(other)
    strange = f"ducklake:postgres:{other.catalog.address}"
    cursor = duckdb_cursor(other.catalog.extensions)
    cursor.execute(f"ATTACH {quoted(strange)} AS strange (DATA_PATH {quoted(str(tmp_path))})")
    cursor.execute("CREATE TABLE strange.theirs (n INTEGER)")
    cursor.execute("DETACH strange")
    with pytest.raises(CatalogUnusable, match="holds tables, but does not say of which store"):
        catalog_copy.restore(other)


def test_copy_that_fails_leaves_the_last_one(tmp_path: Path, open_lake_at: Open, rows_of: Rows) -> None:
    lake = open_lake_at(tmp_path / "home")
    lake.put(rows_of("s0", 1), "s0", "1")
    catalog_copy.copy(lake)
    lake.put(rows_of("s0", 2), "s0", "2")

    with killed_at(0, (FileStore, "write_bytes")), pytest.raises(Killed):
        catalog_copy.copy(lake)
    assert lake.store.list_tree("catalog") == [catalog_copy.COPY]
    _lose(lake)
    catalog_copy.restore(lake)
    assert lake.read("ends")["n"].unique().to_list() == [1]


def test_copy_lies_in_a_bucket(tmp_path: Path, bucket: str, postgres_url: str, open_lake_at: Open, rows_of: Rows) -> None:
    lake = open_lake_at(tmp_path / "one", postgres_url, f"s3://{bucket}/lafid")
    lake.put(rows_of("s0", 1), "s0", "1")
    catalog_copy.copy(lake)
    lake.put(rows_of("s1", 1), "s1", "1")
    _lose(lake)
    again = open_lake_at(tmp_path / "two", postgres_url, f"s3://{bucket}/lafid")
    assert catalog_copy.restore(again).lost == {"measures": ("s1",), "ends": ("s1",)}
    assert again.read("ends").height == 50
