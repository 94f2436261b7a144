"""A place in a pool is one run's, however close together two ask for it."""

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import dagster as dg
import pytest
import sqlalchemy as sa

from resources.settings import Settings

RUNS = ("a", "b", "c")
TOGETHER_S = 0.3


@pytest.fixture
def instances(settings: Settings) -> Iterator[list[dg.DagsterInstance]]:
    """The installation's, as so many processes have it."""
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
