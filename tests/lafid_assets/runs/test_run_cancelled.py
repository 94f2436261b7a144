"""A run that is cancelled, as a process of its own: its children end, and its place in the pool is free."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest

from resources.settings import PROJECT_ROOT, Settings

WORKER = """
import sys, time
from pathlib import Path

def look(name):
    Path(sys.argv[1], name).touch()
    time.sleep(3600)

if __name__ == "__main__":  # its children load no more than the lines above
    import dagster as dg
    from dagster._utils.interrupts import capture_interrupts
    from lafid_assets.workers.pool import Children, map_isolated

    @dg.asset(pool="cpu")
    def analysed():
        list(map_isolated(look, ["a", "b"], lambda _: 600.0, Children(2)))

    with dg.DagsterInstance.get() as instance, capture_interrupts():
        dg.materialize([analysed], instance=instance, raise_on_error=False)
"""


@pytest.fixture
def worker(settings: Settings, tmp_path: Path) -> Iterator[Callable[[], "subprocess.Popen[bytes]"]]:
    """Starts a run whose step is at work in two children."""
    settings.prepare()
    (tmp_path / "worker.py").write_text(WORKER)
    started = []

    def start() -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            [sys.executable, str(tmp_path / "worker.py"), str(tmp_path)],
            cwd=PROJECT_ROOT,
            env=os.environ | {"PYTHONPATH": str(PROJECT_ROOT)},
        )
        started.append(process)
        while not all((tmp_path / name).exists() for name in "ab"):
            assert process.poll() is None
            time.sleep(0.05)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_its_children_end_and_its_place_is_free(worker: Callable[[], "subprocess.Popen[bytes]"], sent: signal.Signals) -> None:
    process = worker()
    children = psutil.Process(process.pid).children(recursive=True)
    with dg.DagsterInstance.get() as instance:
        [run] = instance.get_runs()
        assert [slot.run_id for slot in instance.event_log_storage.get_concurrency_info("cpu").claimed_slots] == [run.run_id]
        process.send_signal(sent)
        process.wait(900)
        while any(map(_runs, children)):  # a test has four minutes
            time.sleep(0.05)
        info = instance.event_log_storage.get_concurrency_info("cpu")
        assert (info.claimed_slots, info.pending_steps) == ([], [])


def _runs(process: psutil.Process) -> bool:
    """A zombie that nobody has collected yet no longer runs."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
