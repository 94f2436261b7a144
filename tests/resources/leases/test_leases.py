"""Leases in SQLite and in Postgres: between processes, over the death of an owner, here and elsewhere."""

import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from resources.leases.leases import ALONE, Lease, LeaseLost, Leases, StoreBusy
from resources.leases.owner import Owner
from resources.leases.table import LeaseTable, Row
from tests.resources.leases.patience import HOUR_S, LONG_S, row_of, until

ROOT = Path(__file__).parents[3]

HOLD = """
import sys
from resources.leases.leases import Leases
with getattr(Leases(sys.argv[1], time_to_live_s=3600, poll_s=0.01), sys.argv[2])(sys.argv[3]) as lease:
    print(getattr(lease, "token", 0), flush=True)
    sys.stdin.read()
"""

COUNT = """
import sys, time
from pathlib import Path
from resources.leases.leases import Leases
counter = Path(sys.argv[2])
leases = Leases(sys.argv[1], poll_s=0.01)
for _ in range(6):
    with leases.held("the counter"):
        count = int(counter.read_text())
        time.sleep(0.002)
        counter.write_text(str(count + 1))
"""

FORK = """
import os, sys
from resources.leases.leases import Leases
leases = Leases(sys.argv[1])
with leases.held("shard") as lease:
    if not os.fork():
        with leases.held("another"):
            sys.exit()  # through the parent's lease
    assert os.wait()[1] == 0
    lease.require()
"""


@pytest.fixture
def started(url: str) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts a process that gets the url and some words, and holds what it holds until its standard input is closed."""
    with ExitStack() as ends:

        def start(code: str, *words: str) -> "subprocess.Popen[str]":
            command = [sys.executable, "-c", code, url, *words]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
            ends.enter_context(process)
            ends.callback(process.kill)
            return process

        yield start


def _token(process: "subprocess.Popen[str]") -> int:
    """Once it holds what it is to hold."""
    assert process.stdout is not None
    return int(process.stdout.readline())


def _elsewhere(table: LeaseTable, name: str, silent_s: float = 0.0) -> Row:
    """Written by an owner on another machine, who was last heard of some seconds ago."""
    owner = replace(Owner.here("lafid curate"), host="elsewhere", machine="another boot")
    row = Row(name, 7, str(owner), table.run(lambda rows: rows.now()) - silent_s)
    table.run(lambda rows: rows.put(row))
    return row


@contextmanager
def _waiting(work: Callable[[], None], caplog: pytest.LogCaptureFixture) -> Iterator[threading.Thread]:
    """Some work in a thread that has to wait for a lease first, as it says; it is done at the end of the block."""
    thread = threading.Thread(target=work)
    with caplog.at_level(logging.WARNING, "lafid.leases"):
        thread.start()
        until(lambda: "waiting for it" in caplog.text or not thread.is_alive())
        assert thread.is_alive()
        yield thread
        thread.join(LONG_S)
    assert not thread.is_alive()
    assert caplog.text.count("waiting for it") == 1


def test_processes_hold_a_name_one_after_the_other(started: Callable[..., "subprocess.Popen[str]"], tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    for process in [started(COUNT, str(counter)) for _ in range(3)]:
        assert process.wait(LONG_S) == 0
    assert counter.read_text() == "18"


def test_threads_of_one_process_exclude_each_other(leases: Leases, caplog: pytest.LogCaptureFixture) -> None:
    order: list[str] = []

    def second() -> None:
        with leases.held("shard"):
            order.append("second")

    with ExitStack() as waiting, leases.held("another shard"), leases.held("shard"):
        waiting.enter_context(_waiting(second, caplog))
        order.append("first")
    assert order == ["first", "second"]
    assert "another run computes shard: waiting for it (shard on " in caplog.text


@pytest.mark.parametrize("reaped", [True, False])
def test_a_killed_owner_of_this_machine_is_followed_whatever_its_heartbeat(
    reaped: bool, leases: Leases, started: Callable[..., "subprocess.Popen[str]"], caplog: pytest.LogCaptureFixture
) -> None:
    first = started(HOLD, "held", "shard")
    before, after = _token(first), []

    def follow() -> None:
        with leases.held("shard") as lease:
            after.append(lease.token)

    with _waiting(follow, caplog):
        first.kill()
        if reaped:
            first.wait()
    assert after[0] > before


def test_an_owner_of_this_machine_that_runs_is_not_taken_for_dead(url: str, table: LeaseTable) -> None:
    """However old its heartbeat: the machine may have slept."""
    with Leases(url, heartbeat_s=HOUR_S, time_to_live_s=0.0).at_work("lafid curate"):
        table.run(lambda rows: [rows.renew(row, 0.0) for row in rows.below("work/")])
        with pytest.raises(StoreBusy), Leases(url, time_to_live_s=0.0).alone("lafid sweep"):
            raise AssertionError


def test_an_owner_elsewhere_is_followed_when_it_was_silent_for_its_time_to_live(
    url: str, table: LeaseTable, caplog: pytest.LogCaptureFixture
) -> None:
    before = _elsewhere(table, "shard")
    with caplog.at_level(logging.WARNING, "lafid.leases"), Leases(url, time_to_live_s=0.5, poll_s=0.01).held("shard") as lease:
        assert lease.token > before.token
    assert "waiting for it (lafid curate on elsewhere, process " in caplog.text


def test_what_is_held_is_said_every_few_seconds_by_one_thread(url: str, table: LeaseTable) -> None:
    def beats() -> list[float]:
        return [row.heartbeat for row in table.run(lambda rows: [*rows.below("shard"), *rows.below("work/")])]

    def threads() -> int:
        return sum(thread.name == "lafid leases" for thread in threading.enumerate())

    leases = Leases(url, heartbeat_s=0.02)
    with leases.at_work("lafid curate"), leases.held("shard-0"), leases.held("shard-1"):
        first = beats()
        assert len(first) == 3
        until(lambda: all(now > before for now, before in zip(beats(), first, strict=True)))
        assert threads() == 1
    until(lambda: not threads())


def test_what_living_owners_hold_is_named(leases: Leases, table: LeaseTable) -> None:
    _elsewhere(table, "lives")
    _elsewhere(table, "died", silent_s=2 * HOUR_S)
    with leases.at_work("lafid curate"), leases.held("shard"):
        assert sorted(leases.names_held()) == ["lives", "shard"]
    assert leases.names_held() == ["lives"]
    table.run(lambda rows: rows.drop("lives"))
    with leases.alone("lafid forget"):
        assert leases.names_held() == []


def test_tokens_rise(leases: Leases, table: LeaseTable) -> None:
    """Over a lease that was given back, a clock that was set back, and a table that was lost."""
    with leases.held("shard") as first:
        pass
    with leases.held("shard") as second:
        pass
    assert second.token > first.token
    ahead = Row("shard", 2**60, "", 0.0)
    table.run(lambda rows: rows.put(ahead))
    with leases.held("shard") as third:
        assert third.token == ahead.token + 1
    with leases.held("shard") as fourth:
        assert fourth.token == ahead.token + 2
    table.run(lambda rows: rows.drop("shard"))
    table.run(lambda rows: rows._connection.exec_driver_sql("DROP TABLE lafid_leases"))
    with leases.held("shard") as fifth:
        assert fifth.token > second.token


def test_a_lease_that_was_taken_over_is_lost_and_left_to_its_new_owner(leases: Leases, table: LeaseTable) -> None:
    with leases.held("shard") as lease:
        lease.require()
        after = _elsewhere(table, "shard")
        told = r"^shard is no longer held .* \(lafid curate on elsewhere, process .*; token \d+, now 7\)"
        for _ in range(2):
            with pytest.raises(LeaseLost, match=told):
                lease.require()
    assert row_of(table, "shard") == after


def test_the_heartbeat_notices_that_a_lease_is_lost(url: str, table: LeaseTable, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "lafid.leases"), Leases(url, heartbeat_s=0.02).held("shard") as lease:
        table.run(lambda rows: rows.drop("shard"))
        until(lambda: "gone from the table" in caplog.text)
        with pytest.raises(LeaseLost):
            lease.require()
    assert caplog.text.count("gone from the table") == 1


def test_a_lease_made_by_hand_is_always_held() -> None:
    lease = Lease("shard", 3)
    lease.require()
    assert (lease.name, lease.token) == ("shard", 3)


def test_runs_work_side_by_side_and_keep_others_from_being_alone(leases: Leases, table: LeaseTable) -> None:
    busy = pytest.raises(
        StoreBusy,
        match=r"lafid sweep would remove what they write \(lafid curate on \S+, process \d+, since 20.* UTC; a run on .*\): "
        "wait for them or end them in `lafid ui`",
    )
    with leases.at_work("lafid curate"):
        with leases.at_work("a run"), busy, leases.alone("lafid sweep"):
            raise AssertionError
        with pytest.raises(StoreBusy), leases.alone("lafid sweep"):
            raise AssertionError
    with leases.alone("lafid sweep"):
        assert table.run(lambda rows: rows.below("work/")) == []


def test_only_a_few_of_many_are_named(leases: Leases, table: LeaseTable) -> None:
    for number in range(7):
        _elsewhere(table, f"work/{number}")
    with pytest.raises(StoreBusy, match="; 2 more") as busy, leases.alone("lafid sweep"):
        raise AssertionError
    assert str(busy.value).count("elsewhere") == 5


def test_a_killed_run_holds_nobody_up_and_leaves_nothing(
    leases: Leases, table: LeaseTable, started: Callable[..., "subprocess.Popen[str]"]
) -> None:
    run = started(HOLD, "at_work", "lafid curate")
    _token(run)
    with pytest.raises(StoreBusy), leases.alone("lafid sweep"):
        raise AssertionError
    run.kill()
    run.wait()
    _elsewhere(table, "work/silent", silent_s=HOUR_S + 1)
    with leases.at_work("a run"):
        assert [Owner.read(row.owner).what for row in table.run(lambda rows: rows.below("work/"))] == ["a run"]  # type: ignore[union-attr]
    with leases.alone("lafid sweep"):
        pass


@pytest.mark.parametrize("take", ["at_work", "held"])
def test_a_run_waits_for_whoever_is_alone(
    leases: Leases, started: Callable[..., "subprocess.Popen[str]"], caplog: pytest.LogCaptureFixture, take: str
) -> None:
    sweep, order = started(HOLD, "alone", "lafid sweep"), []
    _token(sweep)

    def run() -> None:
        with getattr(leases, take)("a run"):
            order.append("run")

    with pytest.raises(StoreBusy, match="lafid sweep on"), leases.alone("lafid forget"):
        raise AssertionError
    with _waiting(run, caplog):
        order.append("alone")
        assert sweep.stdin is not None
        sweep.stdin.close()
    assert order == ["alone", "run"]
    assert "waiting for it (lafid sweep on" in caplog.text


def test_whoever_is_alone_may_work(leases: Leases, table: LeaseTable) -> None:
    with leases.alone("lafid forget"), leases.at_work("lafid forget"):
        assert len(table.run(lambda rows: rows.below("work/"))) == 1


def test_a_run_that_was_taken_for_dead_says_again_that_it_is_at_work(url: str, table: LeaseTable) -> None:
    with Leases(url, heartbeat_s=0.02).at_work("a run"):
        [row] = table.run(lambda rows: rows.below("work/"))
        table.run(lambda rows: rows.drop(row.name))
        until(lambda: row_of(table, row.name))
    assert table.run(lambda rows: rows.below("work/")) == []


def test_a_run_that_slept_while_another_was_alone_loses_what_it_held(leases: Leases, table: LeaseTable) -> None:
    with leases.at_work("a run"), leases.held("shard") as lease:
        [row] = table.run(lambda rows: rows.below("work/"))
        table.run(lambda rows: rows.drop(row.name))
        table.run(lambda rows: rows.put(Row(ALONE, lease.token - 1, "", rows.now())))
        lease.require()  # who was alone before it began took nothing from it
        table.run(lambda rows: rows.drop(row.name))
        table.run(lambda rows: rows.put(Row(ALONE, lease.token + 1, "", rows.now())))
        with pytest.raises(LeaseLost, match="shard is no longer held .* alone in the store since"):
            lease.require()
        with leases.held("another") as later:
            later.require()


def test_a_forked_child_gives_nothing_back(url: str) -> None:
    ended = subprocess.run([sys.executable, "-c", FORK, url], check=False, cwd=ROOT, timeout=LONG_S)
    assert ended.returncode == 0


def test_importing_loads_no_database() -> None:
    code = "import sys, resources.leases.leases; print({'sqlalchemy', 'psycopg2', 'psutil'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=ROOT).stdout == b"set()\n"
