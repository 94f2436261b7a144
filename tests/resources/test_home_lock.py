"""Runs side by side, or somebody alone."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from resources.home_lock import HomeBusy, alone, at_work

HOLD = """
import sys
from pathlib import Path
from resources.home_lock import at_work
with at_work(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_runs_work_side_by_side_and_keep_others_from_being_alone(tmp_path: Path) -> None:
    busy = pytest.raises(HomeBusy, match=f"a run is at work in {tmp_path}.*: wait for it")
    with at_work(tmp_path), at_work(tmp_path), busy, alone(tmp_path):
        raise AssertionError
    with alone(tmp_path):
        pass


def test_a_run_that_was_killed_holds_nobody_up(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"held\n"
        with pytest.raises(HomeBusy), alone(tmp_path):
            pass
        run.kill()
        run.wait()
        with alone(tmp_path):
            pass


def test_a_run_waits_for_whoever_is_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    order: list[str] = []

    def run() -> None:
        with at_work(tmp_path):
            order.append("run")

    with alone(tmp_path):
        thread = threading.Thread(target=run)
        thread.start()
        thread.join(0.2)
        order.append("alone")
    thread.join(10)
    assert order == ["alone", "run"]
    assert "`lafid forget` or `lafid sweep` is at work" in caplog.text
