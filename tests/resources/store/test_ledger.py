"""Parts of an unfinished partition in a store, local and remote: whole or not at all, found again by any machine, never mixed
with those of other settings, nor with those of a run that was taken for dead."""

import logging
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import polars as pl
import pytest

from resources.leases.leases import Lease, LeaseLost
from resources.store.file_store import FileStore, StoreUnusable
from resources.store.ledger import WHOLE, Ledger

SHARD = "ledger/face_info/shard-00000"
KILLED = """
import os, sys
import polars as pl
from resources.leases.leases import Lease
from resources.store.ledger import WHOLE, Ledger
from resources.store.file_store import FileStore

class Killed(FileStore):
    def write_bytes(self, path, content):
        if path.endswith(sys.argv[2]):
            os.kill(os.getpid(), 9)
        super().write_bytes(path, content)

frame = pl.DataFrame({"clip_id": ["a"]})
ledger = Ledger(Killed(sys.argv[1]), "face_info", "shard-00000", "f", Lease("shard-00000", 1), seconds_per_part=0)
with ledger.writing() as parts:
    parts.add({"clips": frame, "faces": frame})
"""


def _frames(*names: str) -> dict[str, pl.DataFrame]:
    return {
        "clips": pl.DataFrame({"clip_id": names}),
        "faces": pl.DataFrame({"clip_id": names, "embedding": [[0.5]] * len(names)}),
    }


def _clips(ledger: Ledger) -> list[list[str]]:
    return [part["clips"]["clip_id"].to_list() for part in ledger.read()]


@pytest.fixture(params=["local", "s3"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> FileStore:
    return FileStore(f"s3://{request.getfixturevalue('bucket')}/lafid" if request.param == "s3" else str(tmp_path / "store"))


@pytest.fixture
def ledger(files: FileStore) -> Callable[..., Ledger]:
    """The ledger of one shard, as the run with that token and those settings sees it."""

    def made(token: int = 1, fingerprint: str = "f", shard: str = "shard-00000", **options: float) -> Ledger:
        return Ledger(files, "face_info", shard, fingerprint, Lease(shard, token), **options)

    return made


def test_what_was_added_is_read_back_by_any_later_run(ledger: Callable[..., Ledger]) -> None:
    with ledger(seconds_per_part=0).writing() as parts:
        parts.add(_frames("a"))
        parts.add(_frames("b", "c"))
    with ledger().writing() as parts:
        parts.add(_frames("d"))
    with ledger(2).writing() as parts:
        parts.add(_frames("e"))
    found = ledger(3).read()
    assert _clips(ledger(3)) == [["a"], ["b", "c"], ["d"], ["e"]]
    assert found[1]["faces"].equals(_frames("b", "c")["faces"])


def test_parts_lie_where_they_are_said_to(ledger: Callable[..., Ledger], files: FileStore) -> None:
    with ledger(7).writing() as parts:
        parts.add(_frames("a"))
    assert files.list_tree("ledger") == [f"{SHARD}/f/7-0/{name}" for name in ("clips.parquet", "faces.parquet", WHOLE)]


def test_quick_clips_share_a_part(ledger: Callable[..., Ledger]) -> None:
    with ledger(seconds_per_part=3600).writing() as parts:
        for name in "abc":
            parts.add(_frames(name))
        assert ledger().read() == []
    assert _clips(ledger()) == [["a", "b", "c"]]


def test_run_that_is_interrupted_keeps_what_it_gathered(ledger: Callable[..., Ledger]) -> None:
    with suppress(KeyboardInterrupt), ledger(seconds_per_part=3600).writing() as parts:
        parts.add(_frames("a"))
        raise KeyboardInterrupt
    assert _clips(ledger()) == [["a"]]


def test_parts_stay_in_order_beyond_nine(ledger: Callable[..., Ledger]) -> None:
    """Tokens and numbers are numbers, not words."""
    names = [f"{number:02d}" for number in range(12)]
    with ledger(9, seconds_per_part=0).writing() as parts:
        for name in names:
            parts.add(_frames(name))
    with ledger(10).writing() as parts:
        parts.add(_frames("12"))
    assert [clips for [clips] in _clips(ledger(11))] == [*names, "12"]


def test_a_run_that_was_taken_for_dead_overwrites_nothing_of_its_successor(ledger: Callable[..., Ledger]) -> None:
    with ledger(1).writing() as dead, ledger(2).writing() as successor:
        dead.add(_frames("a"))
        successor.add(_frames("b"))
        successor.flush()
        dead.flush()
    assert _clips(ledger(3)) == [["a"], ["b"]]


def test_a_run_that_lost_its_lease_writes_no_part(files: FileStore) -> None:
    def require() -> None:
        raise LeaseLost("taken over")

    with (
        pytest.raises(LeaseLost, match="taken over"),
        Ledger(files, "face_info", "shard-00000", "f", Lease("shard-00000", 1, require)).writing() as parts,
    ):
        parts.add(_frames("a"))
    assert files.list_tree("ledger") == []


def test_other_fingerprints_and_partitions_are_not_seen(ledger: Callable[..., Ledger]) -> None:
    with ledger().writing() as parts:
        parts.add(_frames("a"))
    assert ledger(fingerprint="g").read() == []
    assert ledger(shard="shard-00001").read() == []


@pytest.mark.parametrize("last", ["faces.parquet", WHOLE])
def test_part_of_a_killed_run_does_not_count_and_is_swept_by_the_next(last: str, tmp_path: Path) -> None:
    """Killed just before it wrote the file."""
    root, files = Path(__file__).parents[3], FileStore(str(tmp_path))
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), last], cwd=root, timeout=900)
    assert killed.returncode == -9
    assert files.list_tree("ledger")
    with Ledger(files, "face_info", "shard-00000", "f", Lease("", 2)).writing() as parts:
        parts.add(_frames("b"))
    assert _clips(Ledger(files, "face_info", "shard-00000", "f", Lease("", 3))) == [["b"]]
    assert {path.split("/")[4] for path in files.list_tree("ledger")} == {"2-0"}


def test_only_parts_of_others_are_swept(ledger: Callable[..., Ledger], files: FileStore) -> None:
    """A run's own may be on their way."""
    for token in (1, 2):
        files.write_bytes(f"{SHARD}/f/{token}-0/clips.parquet", b"")
    assert ledger(2).read() == []
    assert files.list_tree("ledger") == [f"{SHARD}/f/2-0/clips.parquet"]


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_damaged_part_is_reported_and_removed(
    damage: str, ledger: Callable[..., Ledger], files: FileStore, caplog: pytest.LogCaptureFixture
) -> None:
    with ledger(seconds_per_part=0).writing() as parts:
        parts.add(_frames("a"))
        parts.add(_frames("b"))
    files.remove(f"{SHARD}/f/1-0/faces.parquet")
    if damage == "changed":
        files.write_bytes(f"{SHARD}/f/1-0/faces.parquet", b"no parquet")
    with caplog.at_level(logging.WARNING, "lafid.ledger"):
        assert _clips(ledger()) == [["b"]]
    assert f"{SHARD}/f/1-0 cannot be read and is removed, its clips are computed again" in caplog.text
    assert not files.list_tree(f"{SHARD}/f/1-0")


def test_clearing_forgets_all_settings_and_runs_and_may_be_repeated(ledger: Callable[..., Ledger], files: FileStore) -> None:
    for token, fingerprint in enumerate("fg"):
        with ledger(token, fingerprint).writing() as parts:
            parts.add(_frames("a"))
    with ledger(shard="shard-00001").writing() as parts:
        parts.add(_frames("b"))
    ledger().clear()
    assert not files.list_tree(SHARD)
    ledger().clear()
    assert ledger().read() == []
    assert _clips(ledger(shard="shard-00001")) == [["b"]]


def test_a_store_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    ledger = Ledger(FileStore(str(tmp_path / "store")), "face_info", "shard-00000", "f", Lease("", 1))
    with pytest.raises(StoreUnusable, match="cannot write .*ledger/face_info"), ledger.writing() as parts:
        parts.add(_frames("a"))
