"""A place in a pool is one run's, however close together two ask for it, and no dead run's; who waits for one does only that."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import dagster as dg
import pytest
import sqlalchemy as sa
import yaml
from dagster._core.errors import DagsterExecutionInterruptedError

from resources import dagster_storage
from resources.settings import PROJECT_ROOT, Settings

RUNS = ("a", "b", "c")
TOGETHER_S = 0.3
CLAIM = """
import subprocess, sys
import dagster as dg
from resources.dagster_storage import signs_of_life
run, outlives = sys.argv[1:]
with dg.DagsterInstance.get() as instance:
    print(instance.event_log_storage.claim_concurrency_slot("gpu", run, "trained").is_claimed, flush=True)
    if outlives == "child":
        child = subprocess.Popen(["sleep", "600"], pass_fds=signs_of_life(run), stdout=subprocess.DEVNULL)
        print(child.pid, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Callable[[], None]]]:
    """What happens while a run waits for a place, one thing a pause; no pause takes any time."""
    left: list[Callable[[], None]] = []

    def nap(seconds: float) -> None:
        assert seconds == dagster_storage.SECONDS_BETWEEN_CLAIMS
        left.pop(0)()

    monkeypatch.setattr(dagster_storage, "time", SimpleNamespace(sleep=nap))
    yield left
    assert not left


@pytest.fixture
def instances(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dg.DagsterInstance]]:
    """The installation's, as so many processes have it."""
    monkeypatch.setattr(dagster_storage, "SECONDS_BETWEEN_CLAIMS", 0.01)
    settings.prepare()
    with contextlib.ExitStack() as opened:
        yield [opened.enter_context(dg.DagsterInstance.get()) for _ in RUNS]


@pytest.fixture
def _writes_meet() -> Iterator[None]:
    """Whoever is about to enter the queue or to take a place waits until all others are, too, or for some time."""
    begins = ("INSERT INTO pending_steps", "UPDATE concurrency_slots SET run_id")
    meetings = {begin: threading.Barrier(len(RUNS)) for begin in begins}

    def wait(connection: object, cursor: object, statement: str, *more: object) -> None:
        for begin, meeting in meetings.items():
            if statement.startswith(begin):
                with contextlib.suppress(threading.BrokenBarrierError):
                    meeting.wait(TOGETHER_S)

    sa.event.listen(sa.Engine, "before_cursor_execute", wait)
    yield
    sa.event.remove(sa.Engine, "before_cursor_execute", wait)


@pytest.mark.usefixtures("_writes_meet")
@pytest.mark.parametrize("places", [1, 2])
def test_no_more_runs_than_places_claim_one(instances: list[dg.DagsterInstance], places: int) -> None:
    logs = [instance.event_log_storage for instance in instances]
    logs[0].set_concurrency_slots("gpu", places)

    def claims(run: str) -> bool:
        return logs[RUNS.index(run)].claim_concurrency_slot("gpu", run, "trained").is_claimed

    with ThreadPoolExecutor(len(RUNS)) as together:
        assert sum(together.map(claims, RUNS)) == places
    held = {slot.run_id for slot in logs[0].get_concurrency_info("gpu").claimed_slots}
    assert len(held) == places

    logs[0].free_concurrency_slots_for_run(min(held))
    assert sum(claims(run) for run in RUNS if run not in held) == 1, "a place that is free again is had by one who waits"


@pytest.fixture
def claimant(instances: list[dg.DagsterInstance]) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """A process that claims the one place of the pool and keeps it; it may leave a child that has the run's sign of life."""
    instances[0].event_log_storage.set_concurrency_slots("gpu", 1)
    started = []

    def start(run: str, outlives: str = "nobody") -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", CLAIM, run, outlives],
            cwd=PROJECT_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_killed_run_gives_its_place_back(
    instances: list[dg.DagsterInstance], claimant: Callable[..., "subprocess.Popen[str]"]
) -> None:
    process = claimant("dead")
    assert process.stdout.readline() == "True\n"
    log = instances[0].event_log_storage
    assert not log.claim_concurrency_slot("gpu", "next", "trained").is_claimed
    process.kill()
    process.wait()
    assert log.claim_concurrency_slot("gpu", "next", "trained").is_claimed


def test_the_queue_does_not_see_the_dead(
    instances: list[dg.DagsterInstance], claimant: Callable[..., "subprocess.Popen[str]"]
) -> None:
    """A run whose first step waits for a place is not even begun while the daemon sees the pool full."""
    process = claimant("dead")
    assert process.stdout.readline() == "True\n"
    log = instances[0].event_log_storage
    assert [slot.run_id for slot in log.get_concurrency_info("gpu").claimed_slots] == ["dead"]
    process.kill()
    process.wait()
    assert log.get_concurrency_info("gpu").claimed_slots == []


def test_a_dead_run_that_waited_keeps_nobody_waiting(
    instances: list[dg.DagsterInstance], claimant: Callable[..., "subprocess.Popen[str]"]
) -> None:
    log = instances[0].event_log_storage
    assert log.claim_concurrency_slot("gpu", "first", "trained").is_claimed
    process = claimant("dead")
    assert process.stdout.readline() == "False\n"
    process.kill()
    process.wait()
    log.free_concurrency_slot_for_step("first", "trained")  # and the place is given to who has waited longest
    assert log.claim_concurrency_slot("gpu", "next", "trained").is_claimed


def test_what_outlives_a_killed_run_keeps_its_place(
    instances: list[dg.DagsterInstance], claimant: Callable[..., "subprocess.Popen[str]"]
) -> None:
    process = claimant("dead", "child")
    assert process.stdout.readline() == "True\n"
    child = int(process.stdout.readline())
    process.kill()
    process.wait()
    log = instances[0].event_log_storage
    try:
        assert not log.claim_concurrency_slot("gpu", "next", "trained").is_claimed
    finally:
        os.kill(child, signal.SIGKILL)
    while not log.claim_concurrency_slot("gpu", "next", "trained").is_claimed:
        continue


@dg.asset(pool="gpu")
def trained() -> None: ...


@pytest.fixture(params=["sqlite", "postgres"])
def pool(request: pytest.FixtureRequest, settings: Settings, instances: list[dg.DagsterInstance]) -> Iterator[dg.DagsterInstance]:
    """An installation whose pool's one place is another run's."""
    with contextlib.ExitStack() as opened:
        instance = instances[0]
        if request.param == "postgres":
            told = yaml.safe_load((settings.dagster_home / "dagster.yaml").read_text())
            url = request.getfixturevalue("postgres_url").replace("postgresql:", "postgresql+psycopg2:")
            told["storage"] = {"postgres": {"postgres_url": url}}
            (settings.dagster_home / "dagster.yaml").write_text(yaml.safe_dump(told))
            instance = opened.enter_context(dg.DagsterInstance.get())
        instance.event_log_storage.set_concurrency_slots("gpu", 1)
        assert instance.event_log_storage.claim_concurrency_slot("gpu", "other", "trained").is_claimed
        yield instance


def test_who_waits_for_a_place_asks_once_a_pause(pool: dg.DagsterInstance, naps: list[Callable[[], None]]) -> None:
    log = pool.event_log_storage
    naps += [lambda: None, lambda: None, lambda: log.free_concurrency_slot_for_step("other", "trained")]
    assert dg.materialize([trained], instance=pool).success
    assert log.get_concurrency_info("gpu").claimed_slots == []


def test_who_waits_for_a_place_can_be_cancelled(pool: dg.DagsterInstance, naps: list[Callable[[], None]]) -> None:
    naps += [lambda: None, lambda: os.kill(os.getpid(), signal.SIGTERM)]
    with pytest.raises(DagsterExecutionInterruptedError):
        dg.materialize([trained], instance=pool)
    assert [step.run_id for step in pool.event_log_storage.get_concurrency_info("gpu").pending_steps] == ["other"]
