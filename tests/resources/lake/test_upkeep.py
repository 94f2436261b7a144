"""Compaction: fewer files, the same rows, and nobody is disturbed."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from threading import Thread
from typing import Any

import duckdb
import psycopg2
import pytest

from resources.lake import lake as lake_module
from resources.lake import reader as reader_module
from resources.lake import upkeep as module
from resources.lake.catalog import Catalog
from resources.lake.connection import LakeUnusable
from resources.lake.lake import Lake
from resources.lake.reader import TooSlow
from resources.lake.upkeep import compact, compact_by_the_way, held

Rows = Callable[..., Any]


def _put(lake: Lake, rows_of: Rows, shards: int, n: int = 1) -> None:
    for number in range(shards):
        lake.put(rows_of(f"s{number}", n), f"s{number}", str(n))


def _files(lake: Lake) -> set[str]:
    return set(lake.store.list_tree("tables"))


def test_small_files_become_one_and_the_rows_stay(small_lake: Lake, rows_of: Rows) -> None:
    _put(small_lake, rows_of, 6)
    _put(small_lake, rows_of, 3, n=2)
    before, stamps = small_lake.read("measures"), small_lake.stamps()
    done = compact(small_lake, kept_s=0, orphan_s=0)
    assert (done.before.files, done.after.files, done.busy) == (12, 2, ())
    assert done.after.snapshots == 1
    assert done.removed == 18
    assert len(_files(small_lake)) == 2
    assert small_lake.read("measures").equals(before)
    assert small_lake.stamps() == stamps
    small_lake.put(rows_of("s1", 3), "s1", "3")
    assert small_lake.read("measures", "s1")["n"].unique().to_list() == [3]
    assert small_lake.read("measures").height == before.height
    again = compact(small_lake, kept_s=0, orphan_s=0)
    assert again.after.files == 4, "files that hold deleted rows are not merged"
    assert small_lake.read("measures").height == before.height


def test_files_with_many_deleted_rows_are_written_anew(small_lake: Lake, rows_of: Rows) -> None:
    _put(small_lake, rows_of, 2)
    compact(small_lake, kept_s=0, orphan_s=0)
    small_lake.put({"ends": rows_of("s0", 1)["ends"].clear()}, "s0", "none")
    compact(small_lake, kept_s=0, orphan_s=0)
    (left,) = [path for path in _files(small_lake) if "/ends/" in path]
    import polars as pl

    assert pl.read_parquet(small_lake.store.local_path(left))["shard"].unique().to_list() == ["s1"]


def test_rows_in_the_catalog_become_files(small_lake: Lake, rows_of: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    _put(small_lake, rows_of, 3)
    stamps = small_lake.stamps()
    assert not [path for path in _files(small_lake) if "/partitions/" in path]
    monkeypatch.setattr(module, "INLINED_ROWS", 1)
    compact(small_lake, kept_s=0)
    assert [path for path in _files(small_lake) if "/partitions/" in path]
    assert small_lake.stamps() == stamps
    _put(small_lake, rows_of, 2, n=2)
    assert {stamp.fingerprint for stamp in small_lake.stamps(["ends"]).values()} == {"1", "2"}


@pytest.mark.parametrize("address", ["sqlite"], indirect=True)
def test_functions_of_ducklake_have_one_core(small_lake: Lake, rows_of: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    """With more, flushing inlined rows crashed one process in forty under load."""
    cores, call = [], module._call

    def counted(statement: str, writer: Any) -> None:
        cores.extend(writer.cursor.execute("SELECT current_setting('threads')").fetchall())
        call(statement, writer)

    monkeypatch.setattr(module, "_call", counted)
    monkeypatch.setattr(module, "INLINED_ROWS", 1)
    _put(small_lake, rows_of, 3)
    compact(small_lake, kept_s=0)
    module.drop_all_history(small_lake, {"ends": "true"})
    assert len(cores) > 2
    assert set(cores) == {(1,)}


def test_young_files_and_snapshots_are_kept(small_lake: Lake, rows_of: Rows) -> None:
    """Whatever the time of day: DuckLake's own functions compare it as text where the catalog is SQLite."""
    _put(small_lake, rows_of, 4)
    before = _files(small_lake)
    done = compact(small_lake)
    assert (done.removed, done.after.files) == (0, 2)
    assert done.after.snapshots == done.before.snapshots + 2
    assert before < _files(small_lake)
    time.sleep(1.1)
    assert compact(small_lake, kept_s=1.0).removed == 8


def test_what_killed_writers_left_goes_when_it_is_old(small_lake: Lake, rows_of: Rows) -> None:
    _put(small_lake, rows_of, 1)
    folder = small_lake.store.local_path("tables/main/ends")
    for name, age_s in (("old", 100_000), ("young", 10)):
        path = folder / f"ducklake-{name}.parquet"
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age_s, time.time() - age_s))
    assert compact(small_lake).removed == 1
    assert {path.name for path in folder.glob("ducklake-*old.parquet")} == set()
    assert (folder / "ducklake-young.parquet").exists()
    assert small_lake.read("ends").height == 50


def test_a_reader_of_an_older_snapshot_reads_on(
    tmp_path: Path, postgres_url: str, open_lake_at: Callable[..., Lake], rows_of: Rows
) -> None:
    """However old it is, when nothing was written since. (At a catalog in SQLite nobody commits while anybody reads.)"""
    lake = open_lake_at(tmp_path / "home", postgres_url)
    _put(lake, rows_of, 3)

    def age(writer: Any) -> None:
        writer.cursor.execute(
            f"UPDATE __ducklake_metadata_{writer.name}.ducklake_snapshot "
            "SET snapshot_time = (snapshot_time::TIMESTAMPTZ - INTERVAL 1 DAY)::VARCHAR::TIMESTAMPTZ"
        )

    lake.commit(age)
    kept: list[int] = []

    def write() -> None:
        _put(lake, rows_of, 3, n=2)
        kept.append(compact(lake).after.snapshots)

    with lake.snapshot() as reader:
        assert reader.read("measures").height == 150
        writer = Thread(target=write)
        writer.start()
        writer.join()
        assert kept == [6], "the reader's, three that put, two that merged"
        assert reader.read("ends")["n"].unique().to_list() == [1]
        assert reader.read("measures")["n"].unique().to_list() == [1]
    assert lake.read("measures")["n"].unique().to_list() == [2]


@pytest.mark.parametrize("address", ["sqlite"], indirect=True)
def test_a_transaction_that_takes_too_long_is_given_up(small_lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "LONGEST_S", 0.0)
    with small_lake.snapshot() as reader, pytest.raises(TooSlow, match="longer than 0 s: run the command again"):
        reader.sql("SELECT 1")
    with pytest.raises(TooSlow):
        small_lake.commit(lambda writer: writer.cursor.execute("DELETE FROM ends"))


def _ends(lake: Lake, table: str, column: str) -> tuple[str, str]:
    """Least and greatest value, as the catalog says."""
    with lake.snapshot() as reader:
        catalog = f"__ducklake_metadata_{reader.name}"
        (found,) = reader.cursor.execute(
            f"SELECT min_value, max_value FROM {catalog}.ducklake_table_column_stats "
            f"JOIN {catalog}.ducklake_table USING (table_id) JOIN {catalog}.ducklake_column USING (table_id, column_id) "
            f"WHERE table_name = '{table}' AND column_name = '{column}'"
        ).fetchall()
    return found


def test_nothing_is_left_of_what_was_removed(
    small_lake: Lake,
    rows_of: Rows,
    open_lake_at: Callable[..., Lake],
    address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No file, no snapshot, and no statistics, not even by processes that remember them; and none say less than what is there."""
    for shard, n in {"a": -5, "m": 10, "n": 9, "z": 500}.items():
        small_lake.put(rows_of(shard, n), shard, "f")
    small_lake.put(rows_of("few", 11, 2), "few", "f")
    other, measure_anew = open_lake_at(tmp_path / "home", address), module._measure_anew
    other.stamps()

    def meanwhile(writer: Any) -> None:
        other.read("measures")
        measure_anew(writer)

    monkeypatch.setattr(module, "_measure_anew", meanwhile)
    gone = "shard IN ('a', 'z') OR clip_id IN ('few-0', 'n-0')"
    small_lake.commit(
        lambda writer: [writer.cursor.execute(f"DELETE FROM {table} WHERE {gone}") for table in ("ends", "measures")]
    )
    assert _ends(small_lake, "ends", "clip_id") == ("a-0", "z-9")
    module.drop_all_history(small_lake, dict.fromkeys(("ends", "measures"), gone) | {"partitions": "true"})
    assert held(small_lake).snapshots == 1
    assert held(small_lake).files == len(_files(small_lake))
    assert _ends(small_lake, "ends", "clip_id") == ("few-1", "n-9")
    assert _ends(small_lake, "ends", "n") == ("9", "11"), "numbers, not texts"
    other.put(rows_of("p", 100, 2), "p", "f")
    assert _ends(other, "ends", "clip_id") == ("few-1", "p-1")
    assert _ends(other, "ends", "n") == ("9", "100")
    for lake in (small_lake, other):
        for table in ("ends", "measures"):
            counts = [lake.sql(f"SELECT count(*) AS n FROM {table} WHERE n = {n}")["n"].item() for n in (-5, 9, 10, 11, 100, 500)]
            assert counts == [0, 49, 50, 1, 2, 0]


def test_a_server_keeps_no_values_in_its_own_statistics(
    tmp_path: Path, postgres_url: str, open_lake_at: Callable[..., Lake], rows_of: Rows
) -> None:
    """Postgres notes the commonest values of each column whenever it looks at a table, as it does by itself."""
    held = (
        "SELECT count(*) FROM pg_stats WHERE starts_with(tablename, 'ducklake_') "
        "AND concat(most_common_vals, histogram_bounds) LIKE '%gone-%'"
    )
    file = "SELECT position('gone-'::bytea IN pg_read_binary_file(pg_relation_filepath('pg_statistic')))"
    lake = open_lake_at(tmp_path / "home", postgres_url)
    for shard in ("gone", "kept"):
        lake.put(rows_of(shard, 1), shard, "f")
        lake.put(rows_of(f"{shard}-few", 1, 2), f"{shard}-few", "f")  # in the catalog itself, which is emptied
    with closing(psycopg2.connect(postgres_url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True

        def found(question: str) -> int:
            cursor.execute(f"CHECKPOINT; {question}")
            return int(cursor.fetchall()[0][0])

        cursor.execute("ANALYZE")
        assert found(file)
        assert found(held)
        gone = dict.fromkeys(("ends", "measures"), "shard LIKE 'gone%'")
        lake.commit(lambda writer: [writer.cursor.execute(f"DELETE FROM {table} WHERE {where}") for table, where in gone.items()])
        module.drop_all_history(lake, gone)
        assert (found(held), found(file)) == (0, 0)
        assert found("SELECT count(*) FROM pg_stats WHERE starts_with(tablename, 'ducklake_')")


def test_a_server_that_leaves_a_table_as_it_is_is_told_of(
    tmp_path: Path, postgres_url: str, open_lake_at: Callable[..., Lake], rows_of: Rows
) -> None:
    """Whoever owns the tables, and not the database, gets a mere warning of it."""
    lake = open_lake_at(tmp_path / "home", postgres_url)
    lake.put(rows_of("s0", 1), "s0", "f")
    lake.close()
    with closing(psycopg2.connect(postgres_url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        cursor.execute(
            "CREATE ROLE guest LOGIN; " + ";".join(f'ALTER TABLE "{name}" OWNER TO guest' for (name,) in cursor.fetchall())
        )
        try:
            with pytest.raises(
                LakeUnusable, match="its user may not write pg_statistic anew: make the user the database's owner"
            ):
                module._rebuild(Catalog(postgres_url.replace("lafid@", "guest@")))
        finally:
            cursor.execute("DROP OWNED BY guest; DROP ROLE guest")


def test_a_table_that_was_emptied_takes_rows_again(small_lake: Lake, rows_of: Rows) -> None:
    small_lake.put(rows_of("a", 1), "a", "f")
    small_lake.commit(lambda writer: writer.cursor.execute("DELETE FROM ends"))
    module.drop_all_history(small_lake, {"ends": "true"})
    assert _ends(small_lake, "ends", "clip_id") == (None, None)
    for shard, n in (("m", 5), ("b", 4)):
        small_lake.put(rows_of(shard, n), shard, "f")
    assert _ends(small_lake, "ends", "clip_id") == ("b-0", "m-9")
    assert [small_lake.read("ends", where=f"n = {n}").height for n in (1, 4, 5)] == [0, 50, 50]


READ_ON = """
print("ready", flush=True)
while True:
    with lake.snapshot() as reader:
        one = reader.sql("SELECT shard, count(*) AS rows, count(DISTINCT n) AS versions FROM measures GROUP BY shard")
        two = reader.sql("SELECT shard, n FROM ends GROUP BY ALL")
    assert set(one["rows"]) == {50} and set(one["versions"]) == {1}, one
    assert one.height == two.height == 3, two
    print(one.height, flush=True)
"""
WRITE_ON = """
print("ready", flush=True)
while True:
    n, shard = random.randrange(10**9), f"s{random.randrange(3)}"
    lake.put(rows(shard, n), shard, str(n))
    print(n, flush=True)
"""


@pytest.mark.soak
def test_readers_and_writers_go_on(small_lake: Lake, rows_of: Rows, elsewhere: Callable[..., Any], soak: bool) -> None:
    _put(small_lake, rows_of, 3)
    others = [elsewhere(program) for program in (READ_ON, WRITE_ON, *[WRITE_ON] * soak)]
    for other in others:
        assert other.stdout.readline() == "ready\n"
    compacted = 0
    for _ in range(30 if soak else 1):
        done = compact(small_lake, kept_s=60.0)
        compacted += done.busy == ()
        for other in others:
            assert other.stdout.readline(), other.communicate()[1]
    for other in others:
        assert other.poll() is None, other.communicate()[1]
        other.send_signal(signal.SIGKILL)
        other.wait()
    held_rows = small_lake.sql("SELECT shard, count(*) AS rows, count(DISTINCT n) AS versions FROM measures GROUP BY shard")
    assert held_rows.select("rows", "versions").unique().rows() == [(50, 1)]
    assert compact(small_lake, kept_s=0, orphan_s=0).after.files == 2
    assert len(_files(small_lake)) == 2


COMPACT_AND_DIE = """
from resources.lake import upkeep
threading.Timer(float(arguments[0]), lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
while True:
    upkeep.compact(lake, kept_s=0, orphan_s=0)
    lake.put(rows("s0", 1), "s0", "1")
"""


@pytest.mark.soak
def test_killed_compactions_lose_nothing(small_lake: Lake, rows_of: Rows, elsewhere: Callable[..., Any], soak: bool) -> None:
    _put(small_lake, rows_of, 5)
    before = small_lake.read("measures")
    for moment_s in [5.0 + number % 7 / 3 for number in range(20)] if soak else [1.5]:
        killed = elsewhere(COMPACT_AND_DIE, moment_s)
        killed.communicate(timeout=900)
        assert killed.returncode == -signal.SIGKILL
        assert small_lake.read("measures").equals(before)
    done = compact(small_lake, kept_s=0, orphan_s=0)
    assert done.after.snapshots == 1
    assert done.after.files <= 4, "a merged file of each table, and what was put since"
    assert small_lake.read("measures").equals(before)


def test_writers_compact_by_the_way(small_lake: Lake, rows_of: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    for where in (module, lake_module):
        monkeypatch.setattr(where, "EVERY", 10)
    most = 0
    for number in range(24):
        small_lake.put(rows_of(f"s{number}", 1), f"s{number}", "1")
        most = max(most, held(small_lake).files)
    assert most < 30
    assert small_lake.read("ends")["shard"].n_unique() == 24


def test_only_one_compacts_and_a_writer_does_not_wait_for_it(
    small_lake: Lake, rows_of: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    _put(small_lake, rows_of, 3)
    with small_lake.leases.held(module.LEASE):
        compact_by_the_way(small_lake)
        assert held(small_lake).files == 6
    compact_by_the_way(small_lake)
    assert held(small_lake).files == 2
    _put(small_lake, rows_of, 3, n=2)
    compact_by_the_way(small_lake)
    assert held(small_lake).files > 2, "it was done lately"


@pytest.mark.parametrize("address", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "error", [duckdb.OutOfMemoryException("could not allocate"), TooSlow("longer than 0 s"), MemoryError(), OSError("no space")]
)
def test_a_compaction_by_the_way_that_fails_costs_the_commit_nothing(
    small_lake: Lake, rows_of: Rows, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(module, "_compact", fail)
    monkeypatch.setattr(lake_module, "EVERY", 1)
    _put(small_lake, rows_of, 2)
    assert small_lake.read("ends")["shard"].n_unique() == 2
    assert f"the lake is not compacted this time: {error}" in caplog.text


def test_tables_in_a_bucket_are_compacted(
    tmp_path: Path, bucket: str, postgres_url: str, open_lake_at: Callable[..., Lake], rows_of: Rows
) -> None:
    lake = open_lake_at(tmp_path / "home", postgres_url, f"s3://{bucket}/lafid")
    _put(lake, rows_of, 3)
    lake.store.write_bytes("tables/main/ends/ducklake-left.parquet", b"half")
    assert compact(lake).removed == 0
    assert compact(lake, kept_s=0, orphan_s=0).removed == 7
    assert len(_files(lake)) == 2
    assert lake.read("ends").height == 150
