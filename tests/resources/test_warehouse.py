"""The warehouse: short transactions, published copies, and a file that can always be made anew."""

import fcntl
import multiprocessing as mp
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest

from resources import warehouse as warehouse_module
from resources.shard_store import ShardStore
from resources.warehouse import Warehouse, WarehouseUnusable

COMMENTS = {"clips": {"clip_id": "the clip's id", "shard": "its shard", "n": "a number"}, "totals": {"n": "a sum"}}
ADDED = {"clips": COMMENTS["clips"] | {"later": "a new column"}}


@pytest.fixture
def house(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "lafid.duckdb", ShardStore(str(tmp_path / "store")), COMMENTS)


def _clips(shard: str, *numbers: int) -> pl.DataFrame:
    return pl.DataFrame({"clip_id": [f"{shard}-{n}" for n in numbers], "shard": [shard] * len(numbers), "n": list(numbers)})


def _put(house: Warehouse, partition: str, **frames: pl.DataFrame) -> None:
    house.store.write_group(frames, partition, "f")
    house.replace_partition(frames, partition)


def _ask(house: Warehouse, query: str) -> list[tuple]:
    with house.read() as connection:
        return connection.execute(query).fetchall()


def test_replacing_a_partition_leaves_the_others(house: Warehouse) -> None:
    _put(house, "s0", clips=_clips("s0", 1, 2))
    _put(house, "s1", clips=_clips("s1", 3))
    _put(house, "s0", clips=_clips("s0", 4))

    assert _ask(house, "SELECT shard, n FROM clips ORDER BY n") == [("s1", 3), ("s0", 4)]


def test_unpartitioned_table_is_replaced_whole(house: Warehouse) -> None:
    _put(house, "all", totals=pl.DataFrame({"n": [1, 2]}))
    _put(house, "all", totals=pl.DataFrame({"n": [3]}))
    assert _ask(house, "SELECT n FROM totals") == [(3,)]


def test_unpartitioned_table_with_a_column_shard_is_replaced_whole(house: Warehouse) -> None:
    _put(house, "all", clips=_clips("s0", 1, 2))
    _put(house, "all", clips=_clips("s1", 3))
    assert _ask(house, "SELECT n FROM clips") == [(3,)]


def test_tables_of_a_step_appear_together_or_not_at_all(house: Warehouse) -> None:
    _put(house, "s0", clips=_clips("s0", 1))
    torn = {"clips": _clips("s0", 2), "no such table": _clips("s0", 3)}
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever goes wrong
        house.replace_partition(torn, "s0")

    _put(house, "s1", clips=_clips("s1", 9))
    assert _ask(house, "SELECT n FROM clips ORDER BY n") == [(1,), (9,)]


def test_columns_carry_their_meaning(house: Warehouse) -> None:
    _put(house, "s0", clips=_clips("s0", 1))
    found = dict(_ask(house, "SELECT column_name, comment FROM duckdb_columns() WHERE table_name = 'clips'"))
    assert found == COMMENTS["clips"]


def _write_often(path: Path, store_uri: str, table: str) -> None:
    house = Warehouse(path, ShardStore(store_uri), {table: COMMENTS["clips"]})
    for number in range(8):
        shard = f"{table}-{number}"
        _put(house, shard, **{table: _clips(shard, number)})


def test_two_processes_writing_at_once_lose_nothing(house: Warehouse) -> None:
    context = mp.get_context("spawn")
    arguments = [(house.path, house.store.uri, table) for table in ("first", "second")]
    writers = [context.Process(target=_write_often, args=args) for args in arguments]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert [writer.exitcode for writer in writers] == [0, 0]
    for table in ("first", "second"):
        assert _ask(house, f"SELECT n FROM {table} ORDER BY n") == [(n,) for n in range(8)]


def test_writer_waits_for_its_turn(house: Warehouse) -> None:
    """DuckDB's own lock guards the work file only, not the copy that is being published."""
    _put(house, "s0", clips=_clips("s0", 1))
    with ThreadPoolExecutor() as pool, open(house.path.with_suffix(".lock")) as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        writing = pool.submit(_put, house, "s0", clips=_clips("s0", 2))
        with pytest.raises(TimeoutError):
            writing.result(timeout=0.5)
        fcntl.flock(turn, fcntl.LOCK_UN)
        writing.result(timeout=60)
    assert _ask(house, "SELECT n FROM clips") == [(2,)]


def test_publishing_never_touches_the_bytes_of_the_old_copy(house: Warehouse) -> None:
    _put(house, "s0", clips=_clips("s0", 1))
    before = house.path.read_bytes()
    with house.path.open("rb") as opened:
        _put(house, "s0", clips=_clips("s0", 2))
        assert opened.read() == before
    assert house.path.read_bytes() != before


READER = """
import sys
import duckdb
connection = duckdb.connect(sys.argv[1], read_only=True)
for line in sys.stdin:
    print(connection.execute("SELECT sum(n) FROM clips").fetchone()[0], flush=True)
"""


def test_open_reader_keeps_the_old_data_and_a_new_one_sees_the_new(house: Warehouse) -> None:
    _put(house, "s0", clips=_clips("s0", 1))
    with subprocess.Popen(
        [sys.executable, "-c", READER, str(house.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:

        def ask() -> str:
            reader.stdin.write("?\n")
            reader.stdin.flush()
            return reader.stdout.readline().strip()

        assert ask() == "1"
        _put(house, "s1", clips=_clips("s1", 41))
        assert ask() == "1"
        assert _ask(house, "SELECT sum(n) FROM clips") == [(42,)]
        reader.stdin.close()


def test_rebuild_gives_the_same_rows(house: Warehouse) -> None:
    for shard, numbers in (("s0", (1, 2)), ("s1", (3,))):
        _put(house, shard, clips=_clips(shard, *numbers))
    _put(house, "all", totals=pl.DataFrame({"n": [6]}))
    before = {table: _ask(house, f"SELECT * FROM {table} ORDER BY ALL") for table in COMMENTS}
    house.path.unlink()
    house.work_path.unlink()

    assert house.rebuild() == ["clips", "totals"]
    assert {table: _ask(house, f"SELECT * FROM {table} ORDER BY ALL") for table in COMMENTS} == before
    assert house.store.read_all("clips").sort("n").rows() == sorted(before["clips"], key=lambda row: row[2])


def test_lost_work_file_is_made_anew_with_all_tables(house: Warehouse) -> None:
    _put(house, "all", totals=pl.DataFrame({"n": [6]}))
    _put(house, "s0", clips=_clips("s0", 1))
    house.work_path.unlink()
    _put(house, "s1", clips=_clips("s1", 2))

    assert _ask(house, "SELECT n FROM totals") == [(6,)]
    assert _ask(house, "SELECT n FROM clips ORDER BY n") == [(1,), (2,)]


COMMIT_AND_DIE = """
import os, signal, sys
import duckdb
connection = duckdb.connect(sys.argv[1])
connection.execute("CREATE TABLE stray AS SELECT 1 AS n")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_rebuild_after_a_killed_writer_starts_from_nothing(house: Warehouse) -> None:
    """The log that a killed writer leaves beside the file belongs to the old file."""
    _put(house, "s0", clips=_clips("s0", 1))
    subprocess.run([sys.executable, "-c", COMMIT_AND_DIE, str(house.work_path)], check=False)
    assert house.work_path.with_name(f"{house.work_path.name}.wal").exists()

    assert house.rebuild() == ["clips"]
    assert _ask(house, "SELECT table_name FROM information_schema.tables") == [("clips",)]


@pytest.mark.parametrize("first", ["s0", "s1"])
def test_changed_columns_are_taken_up_whichever_partition_comes_first(house: Warehouse, first: str) -> None:
    for shard in ("s0", "s1"):
        _put(house, shard, clips=_clips(shard, 1))
    changed = Warehouse(house.path, house.store, ADDED)
    _put(changed, first, clips=_clips(first, 2).with_columns(later=pl.lit("new")))

    assert _ask(changed, "SELECT shard, n, later FROM clips") == [(first, 2, "new")]
    other = "s1" if first == "s0" else "s0"
    _put(changed, other, clips=_clips(other, 3).with_columns(later=pl.lit("new")))
    assert _ask(changed, "SELECT n FROM clips ORDER BY n") == [(2,), (3,)]


def test_changed_type_is_taken_up(house: Warehouse) -> None:
    _put(house, "all", totals=pl.DataFrame({"n": [1]}))
    _put(house, "all", totals=pl.DataFrame({"n": [0.5]}))
    assert _ask(house, "SELECT n, typeof(n) FROM totals") == [(0.5, "DOUBLE")]


def test_rebuild_leaves_out_partitions_of_an_old_form(house: Warehouse) -> None:
    for shard in ("s0", "s1"):
        _put(house, shard, clips=_clips(shard, 1))
    house.store.write_group({"clips": _clips("s0", 2).with_columns(later=pl.lit("new"))}, "s0", "f2")

    Warehouse(house.path, house.store, ADDED).rebuild()
    assert _ask(house, "SELECT shard, later FROM clips") == [("s0", "new")]


def test_nothing_published_says_what_to_run(house: Warehouse) -> None:
    with pytest.raises(WarehouseUnusable, match=r"there is no .*lafid.duckdb yet: run `make demo` or `lafid curate DIR` first"):
        _ask(house, "SELECT 1")


HOLDER = """
import sys
import duckdb
connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


def test_foreign_holder_is_waited_for_and_then_named(house: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    _put(house, "s0", clips=_clips("s0", 1))
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(house.work_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        monkeypatch.setattr(warehouse_module, "BUSY_DEADLINE_S", 0.3)
        message = rf"another program holds .*lafid.work.duckdb: close it and open lafid.duckdb instead.*{holder.pid}"
        with pytest.raises(WarehouseUnusable, match=message):
            _put(house, "s0", clips=_clips("s0", 2))
        assert _ask(house, "SELECT n FROM clips") == [(1,)]
        holder.stdin.close()
    _put(house, "s0", clips=_clips("s0", 3))
    assert _ask(house, "SELECT n FROM clips") == [(3,)]


def test_damaged_work_file_is_not_taken_for_a_busy_one(house: Warehouse) -> None:
    _put(house, "s0", clips=_clips("s0", 1))
    house.work_path.write_bytes(b"this is no database" * 1000)
    with pytest.raises(WarehouseUnusable, match=r"cannot open .*lafid.work.duckdb.*lafid rebuild"):
        _put(house, "s0", clips=_clips("s0", 2))

    house.rebuild()
    assert _ask(house, "SELECT n FROM clips") == [(2,)]


def test_full_disk_keeps_the_published_copy(house: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    _put(house, "s0", clips=_clips("s0", 1))

    def full(source: Path, target: Path) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(warehouse_module.shutil, "copyfile", full)
    with pytest.raises(WarehouseUnusable, match=r"cannot publish .*lafid.duckdb \(No space left on device\): free some space"):
        _put(house, "s0", clips=_clips("s0", 2))

    assert _ask(house, "SELECT n FROM clips") == [(1,)]
    assert not list(house.path.parent.glob("*.publishing"))
