"""The lake: a partition is whole or as it was, whoever writes, dies or is cut off, on both catalogs."""

import os
import random
import shutil
import signal
import subprocess
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread
from typing import Any

import duckdb
import polars as pl
import pytest

from resources.lake import catalog_copy, catalog_lock
from resources.lake import lake as module
from resources.lake.catalog import CatalogUnusable
from resources.lake.lake import Lake, LakeUnusable
from resources.lake.ownership import write_name
from resources.lake.reader import Reader, TableMissing
from resources.lake.writer import Fenced, frame_digest

AWKWARD = ["", "NULL", "it's", 'a "b", [c] {d: e}\\', "line\nline", "\ttab", "ÄÖ 漢字 🎬", " x "]


@pytest.fixture
def sqlite_lake(tmp_path: Path, open_lake_at: Callable[..., Lake]) -> Lake:
    return open_lake_at(tmp_path / "home", "")


def _require_whole(lake: Lake, shards: list[str], count: int = 50) -> dict[str, int]:
    """Every shard has one version, the same in both tables, and the stamps say so; that version."""
    with lake.snapshot() as reader:
        for table in ("measures", "ends"):
            held = reader.sql(
                f"SELECT shard, count(*) AS rows, count(DISTINCT n) AS versions, min(n) AS n FROM {table} GROUP BY ALL"
            )
            assert sorted(held["shard"]) == sorted(shards)
            assert set(held["rows"]) == {count}
            assert set(held["versions"]) == {1}
            fingerprints = {shard: stamp.fingerprint for (_, shard), stamp in reader.stamps([table]).items()}
            versions = dict(held.select("shard", "n").rows())
            assert fingerprints == {shard: str(n) for shard, n in versions.items()}
    return versions


def _join(*processes: "subprocess.Popen[str]") -> None:
    for process in processes:
        _, said = process.communicate(timeout=600)
        assert process.returncode == 0, said


@pytest.mark.parametrize("count", [1, 300])  # a few rows lie in the catalog itself, more in files
def test_table_comes_back_as_it_was_written(small_lake: Lake, rows_of: Callable[..., Any], count: int) -> None:
    frame = rows_of("s", 1, max(count, len(AWKWARD)))["measures"]
    odd = [[{"name": text, "at": [0.1, None]}, {"name": None, "at": []}] for text in AWKWARD]
    frame = frame.with_columns(
        text=pl.Series([*AWKWARD, *[None] * (frame.height - len(AWKWARD))]),
        parts=pl.Series([*odd, *[None] * (frame.height - len(AWKWARD))], dtype=frame.schema["parts"]),
        vector=pl.Series([[0.1, 1e-30], [], *[None] * (frame.height - 2)], dtype=frame.schema["vector"]),
        value=pl.Series([1 / 3, None, -0.0, 5e-324, *[1.5] * (frame.height - 4)]),
    )
    small_lake.put({"measures": frame}, "s", "f")
    read = small_lake.read("measures")
    assert read.equals(frame.sort("clip_id"))
    assert frame_digest(read) == frame_digest(frame.sort("clip_id"))
    assert small_lake.read("measures", "s", ["text"], "text LIKE 'it%'").rows() == [("it's",)]


def test_replacing_a_partition_leaves_the_others(small_lake: Lake, rows_of: Callable[..., Any]) -> None:
    for shard, n in (("s0", 1), ("s1", 2), ("s0", 3)):
        small_lake.put(rows_of(shard, n), shard, str(n))
    _require_whole(small_lake, ["s0", "s1"])
    assert small_lake.read("ends", "s0")["n"].unique().to_list() == [3]
    for n in (1, 2):
        small_lake.put({"totals": pl.DataFrame({"n": [n, 10 * n]})}, fingerprint=str(n))
    assert small_lake.read("totals")["n"].to_list() == [2, 20]
    small_lake.put({"ends": rows_of("s0", 1)["ends"].clear()}, "s0", "empty")
    assert small_lake.read("ends", "s0").is_empty()
    assert small_lake.stamps(["ends"])["ends", "s0"].rows == 0


def test_what_was_never_written_is_named(sqlite_lake: Lake, rows_of: Callable[..., Any]) -> None:
    with pytest.raises(TableMissing, match="the table ends is empty: materialize the asset ends first"):
        sqlite_lake.read("ends")
    sqlite_lake.put(rows_of("s0", 1), "s0", "1")
    with pytest.raises(TableMissing, match="the table ends has no partition s1"):
        sqlite_lake.read("ends", "s1")
    assert sqlite_lake.read("said").is_empty()


def test_rows_of_another_shard_are_refused(sqlite_lake: Lake, rows_of: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="measures has rows of s1, which is not among s0"):
        sqlite_lake.put(rows_of("s1", 1), "s0", "1")
    with pytest.raises(TableMissing):
        sqlite_lake.read("ends")


def test_a_reader_sees_one_moment(small_lake: Lake, rows_of: Callable[..., Any]) -> None:
    small_lake.put(rows_of("s0", 1), "s0", "1")
    writer = Thread(target=small_lake.put, args=(rows_of("s0", 2), "s0", "2"))
    with small_lake.snapshot() as reader:
        writer.start()
        if small_lake.catalog.sqlite_path is None:
            writer.join()  # at a catalog in SQLite it waits for the reader
        assert reader.read("ends")["n"].unique().to_list() == [1]
        assert reader.stamps()["ends", "s0"].fingerprint == "1"
    writer.join()
    assert small_lake.read("ends")["n"].unique().to_list() == [2]


def test_a_step_has_one_core_and_whole_tables_all(sqlite_lake: Lake, rows_of: Callable[..., Any]) -> None:
    sqlite_lake.put(rows_of("s0", 1), "s0", "1")
    threads = "SELECT current_setting('threads')::INTEGER AS n"
    assert sqlite_lake.sql(threads)["n"].item() == 1
    with sqlite_lake.snapshot(all_cores=True) as reader:
        assert reader.sql(threads)["n"].item() == len(os.sched_getaffinity(0))
    assert sqlite_lake.commit(lambda writer: writer.sql(threads)["n"].item()) == 1


def test_a_writer_does_not_wait_for_its_own_reader(sqlite_lake: Lake, rows_of: Callable[..., Any]) -> None:
    with sqlite_lake.snapshot(), pytest.raises(RuntimeError, match="begun inside one that reads"):
        sqlite_lake.put(rows_of("s0", 1), "s0", "1")


def test_readers_that_do_not_end_are_told_of(
    sqlite_lake: Lake, rows_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog_lock, "PATIENCE_S", 0.0)
    sqlite_lake.stamps()
    failed: list[Exception] = []

    def put() -> None:
        try:
            sqlite_lake.put(rows_of("s0", 1), "s0", "1")
        except LakeUnusable as error:
            failed.append(error)

    with sqlite_lake.snapshot():
        writer = Thread(target=put)
        writer.start()
        writer.join()
    assert "stays in use: try again when other runs are done" in str(failed[0])


def test_what_fails_half_way_changes_nothing(small_lake: Lake, rows_of: Callable[..., Any]) -> None:
    small_lake.put(rows_of("s0", 1), "s0", "1")

    def fail(reader: Reader) -> None:
        reader.cursor.execute("DELETE FROM measures")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small_lake.commit(fail)
    with pytest.raises(duckdb.Error, match="nonsense"):
        small_lake.commit(lambda reader: reader.cursor.execute("DELETE FROM measures; FROM nonsense"))
    _require_whole(small_lake, ["s0"])


def test_who_was_thought_dead_writes_nothing(small_lake: Lake, rows_of: Callable[..., Any]) -> None:
    small_lake.put(rows_of("s0", 2), "s0", "2", token=7)
    with pytest.raises(Fenced, match="s0 was written by a later run"):
        small_lake.put(rows_of("s0", 1), "s0", "1", token=6)
    small_lake.put(rows_of("s0", 3), "s0", "3", token=7)
    _require_whole(small_lake, ["s0"])
    assert small_lake.stamps(["ends"])["ends", "s0"].fingerprint == "3"


def test_who_slept_while_another_was_alone_writes_nothing(small_lake: Lake, rows_of: Callable[..., Any]) -> None:
    with small_lake.leases.held("s0") as early:
        small_lake.put(rows_of("s0", 1), "s0", "1", token=early.token)
        small_lake.put({"totals": pl.DataFrame({"n": [1]})}, fingerprint="1")
        with small_lake.alone("lafid forget"):
            small_lake.commit(lambda writer: writer.cursor.execute("DELETE FROM ends WHERE shard = 's0'"))
        for shard in ("s0", "s1"):  # one that was written before, and one that never was
            with pytest.raises(Fenced, match=f"{shard} .*thought dead"):
                small_lake.put(rows_of(shard, 2), shard, "2", token=early.token)
    small_lake.put({"totals": pl.DataFrame({"n": [2]})}, fingerprint="2")  # what has no lease is nobody's to lose
    with small_lake.leases.held("s1") as later:
        small_lake.put(rows_of("s1", 3), "s1", "3", token=later.token)
    assert small_lake.read("ends")["shard"].unique().to_list() == ["s1"]


SAME_SHARD = """
for n in range(int(arguments[0]), int(arguments[1])):
    lake.put(rows("s", n), "s", str(n))
    lake.put({"said": __import__("polars").DataFrame({"sha": [str(n % 10)], "json": ["x"]})})
"""


@pytest.mark.soak
def test_processes_that_put_the_same_shard_leave_one_version(small_lake: Lake, elsewhere: Callable[..., Any], soak: bool) -> None:
    """They also make the lake and its tables at the same time."""
    processes, times = (3, 45) if soak else (2, 4)
    _join(*(elsewhere(SAME_SHARD, 100 * number, 100 * number + times) for number in range(processes)))
    _require_whole(small_lake, ["s"])
    said = small_lake.read("said")["sha"].to_list()
    assert sorted(said) == sorted(set(said)), "what only grows holds each key once"


def test_threads_of_a_process_write_side_by_side(small_lake: Lake, rows_of: Callable[..., Any]) -> None:
    def put(number: int) -> None:
        for n in (1, 2):
            with small_lake.snapshot(all_cores=number % 2 == 0) as reader:
                reader.stamps()
            small_lake.put(rows_of(f"s{number}", n), f"s{number}", str(n))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, range(6)))
    shards = [f"s{number}" for number in range(6)]
    assert _require_whole(small_lake, shards) == dict.fromkeys(shards, 2)


WRITE_FOR_EVER = """
print("ready", flush=True)
while True:
    n, shard = random.randrange(10**9), f"s{random.randrange(3)}"
    lake.put(rows(shard, n), shard, str(n))
"""


@pytest.mark.soak
def test_killed_writers_leave_every_shard_whole(
    small_lake: Lake, elsewhere: Callable[..., Any], rows_of: Callable[..., Any], soak: bool
) -> None:
    shards = ["s0", "s1", "s2"]
    for shard in shards:
        small_lake.put(rows_of(shard, 1), shard, "1")
    for _ in range(30 if soak else 1):
        writers = [elsewhere(WRITE_FOR_EVER) for _ in range(2)]
        for writer in writers:
            assert writer.stdout.readline() == "ready\n"
        time.sleep(random.uniform(0.2, 3.0 if soak else 1.0))
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        _require_whole(small_lake, shards)
    small_lake.put(rows_of("s0", 7), "s0", "7")
    _require_whole(small_lake, shards)


@pytest.mark.parametrize("address", ["postgres"], indirect=True)
def test_a_lost_server_is_found_again(small_lake: Lake, rows_of: Callable[..., Any], address: str) -> None:
    import psycopg2

    def cut() -> None:
        connection = psycopg2.connect(address)
        connection.autocommit = True
        connection.cursor().execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
            "AND datname = current_database()"
        )
        connection.close()

    small_lake.put(rows_of("s0", 1), "s0", "1")
    tried = []

    def change(writer: Any) -> None:
        writer.put(rows_of("s0", 2), {"s0": "2"})
        tried.append(1)
        if len(tried) == 1:
            cut()

    small_lake.commit(change)
    assert len(tried) > 1
    cut()
    _require_whole(small_lake, ["s0"])
    with small_lake.snapshot() as reader:
        cut()
        with pytest.raises(duckdb.Error):
            reader.read("ends")
    _require_whole(small_lake, ["s0"])


def test_a_server_that_was_never_there_is_named_at_once_without_its_password(
    tmp_path: Path, open_lake_at: Callable[..., Lake], monkeypatch: pytest.MonkeyPatch
) -> None:
    for address in (
        "postgresql://me:p%40ssphrase@127.0.0.1:1/lake",
        "postgresql://127.0.0.1:1/lake?user=me&password=p%40ssphrase",
    ):
        lake = open_lake_at(tmp_path / "home", address)
        with pytest.raises(CatalogUnusable, match=r"the catalog postgresql://.*127.0.0.1:1/lake.* does not answer") as raised:
            lake.stamps()
        told = "".join(traceback.format_exception(raised.value)) + str(lake.catalog)
        assert "ssphrase" not in told
        assert "***" in told


def test_busy_for_too_long_is_said(
    small_lake: Lake, elsewhere: Callable[..., Any], rows_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if small_lake.catalog.sqlite_path is not None:
        pytest.skip("at a catalog in SQLite writers take turns, and nobody else writes meanwhile")
    small_lake.put(rows_of("s0", 1), "s0", "1")
    monkeypatch.setattr(module, "BUSY_DEADLINE_S", 0.0)

    def meanwhile(writer: Any) -> None:
        writer.put(rows_of("s0", 2), {"s0": "2"})
        other = elsewhere('lake.put(rows("s0", 3), "s0", "3")')
        _join(other)

    with pytest.raises(LakeUnusable, match="stays busy or away .*: try again when other runs are done"):
        small_lake.commit(meanwhile)
    assert small_lake.stamps(["ends"])["ends", "s0"].fingerprint == "3"


def test_reading_makes_nothing(tmp_path: Path, address: str, open_lake_at: Callable[..., Lake]) -> None:
    reader = open_lake_at(tmp_path / "home", address, read_only=True)
    assert not reader.is_there()
    with pytest.raises(LakeUnusable, match="there are no tables in .* yet: run `make demo` or `lafid curate DIR` first"):
        reader.stamps()
    assert not (tmp_path / "home").exists()


def test_a_reader_that_comes_while_the_lake_is_made_finds_no_tables_yet(
    tmp_path: Path, address: str, open_lake_at: Callable[..., Lake], rows_of: Callable[..., Any]
) -> None:
    writer, reader = (open_lake_at(tmp_path / "home", address, read_only=reads) for reads in (False, True))
    with writer.catalog.opened(writing=True) as cursor:
        write_name(cursor, writer.store)
    with pytest.raises(LakeUnusable, match="there are no tables in .* yet"):
        reader.stamps()
    catalog_copy._begin(writer.catalog, "tables")
    with pytest.raises(LakeUnusable, match="there are no tables in .* yet"):
        reader.stamps()
    writer.put(rows_of("s0", 1), "s0", "1")
    assert _require_whole(reader, ["s0"]) == {"s0": 1}


def test_a_reader_beside_the_writer_in_one_process(
    small_lake: Lake, tmp_path: Path, address: str, open_lake_at: Callable[..., Lake], rows_of: Callable[..., Any]
) -> None:
    small_lake.put(rows_of("s0", 1), "s0", "1")
    reader = open_lake_at(tmp_path / "home", address, read_only=True)
    _require_whole(reader, ["s0"])
    with pytest.raises(duckdb.Error, match="read-only"):
        reader.commit(lambda writer: writer.cursor.execute("DELETE FROM ends"))
    small_lake.put(rows_of("s0", 2), "s0", "2")
    _require_whole(reader, ["s0"])
    reader.close()
    _require_whole(small_lake, ["s0"])


def test_the_tables_lie_in_a_bucket(
    tmp_path: Path, bucket: str, postgres_url: str, open_lake_at: Callable[..., Lake], rows_of: Callable[..., Any]
) -> None:
    uri = f"s3://{bucket}/lafid"
    lake = open_lake_at(tmp_path / "one", postgres_url, uri)
    for n in (1, 2):
        lake.put(rows_of("s0", n), "s0", str(n))
    other = open_lake_at(tmp_path / "two", postgres_url, uri)
    other.put(rows_of("s1", 3), "s1", "3")
    assert _require_whole(lake, ["s0", "s1"]) == {"s0": 2, "s1": 3}
    assert [path for path in lake.store.list_tree("tables") if path.endswith(".parquet")]
    with pytest.raises(CatalogUnusable, match="LAFID_CATALOG=postgresql://"):
        open_lake_at(tmp_path / "one", "", uri)


def test_credentials_that_change_are_told_to_duckdb(
    tmp_path: Path,
    bucket: str,
    postgres_url: str,
    open_lake_at: Callable[..., Lake],
    rows_of: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from botocore.credentials import Credentials

    lake = open_lake_at(tmp_path / "one", postgres_url, f"s3://{bucket}/lafid")
    lake.put(rows_of("s0", 1), "s0", "1")
    access = lake._connection._process.access
    assert access is not None
    before = access._given
    monkeypatch.setattr(access, "_credentials", Credentials("later", "it's secret", "token"))
    lake.put(rows_of("s0", 2), "s0", "2")
    assert access._given != before
    with lake.snapshot() as reader:
        [(told,)] = reader.cursor.execute("SELECT secret_string FROM duckdb_secrets() WHERE name = 'lafid_store'").fetchall()
    assert "key_id=later" in told
    assert "secret=redacted" in told


def test_a_store_may_be_moved(
    tmp_path: Path, address: str, open_lake_at: Callable[..., Lake], rows_of: Callable[..., Any]
) -> None:
    lake = open_lake_at(tmp_path / "home", address)
    lake.put(rows_of("s0", 1), "s0", "1")
    lake.close()
    shutil.move(tmp_path / "home", tmp_path / "moved")
    moved = open_lake_at(tmp_path / "moved", address)
    assert _require_whole(moved, ["s0"]) == {"s0": 1}
    moved.put(rows_of("s1", 2), "s1", "2")
    assert _require_whole(moved, ["s0", "s1"]) == {"s0": 1, "s1": 2}
    moved.close()
