"""Real processes: whatever the worker or the trainer does, nothing stays behind. Nobody here trains."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest


@pytest.fixture
def supervise(processes: Any) -> Iterator[Any]:
    """Starts a supervisor over a trainer as the worker would; gives it and the worker's end of the pipe."""

    kept: list[int] = []

    def start(command: list[str], grace_s: float = 30.0, worker: int | None = None) -> tuple["subprocess.Popen[str]", int]:
        lifeline, held = os.pipe()
        options = ("--lifeline", str(lifeline), "--worker", str(worker or os.getpid()), "--grace-s", str(grace_s))
        module = (sys.executable, "-m", "resources.trainer.supervisor")
        supervisor = processes.start(*module, *options, "--", *command, pass_fds=[lifeline], start_new_session=True)
        os.close(lifeline)
        kept.append(held)
        return supervisor, held

    yield start
    for held in kept:
        with suppress(OSError):  # the test closed it
            os.close(held)


@pytest.mark.parametrize("cause", ["pipe closes", "parent changes", "sigterm"])
def test_trainer_is_asked_first_and_its_exit_code_kept(processes: Any, supervise: Any, cause: str) -> None:
    supervisor, held = supervise(processes.trainer("saves"), worker=1 if cause == "parent changes" else None)
    if cause != "parent changes":  # it is noticed at once, perhaps before the trainer listens
        processes.pid("trainer")
    if cause == "pipe closes":
        os.close(held)
    if cause == "sigterm":
        supervisor.terminate()
    output, _ = supervisor.communicate(timeout=900)
    reason = "it was told to" if cause == "sigterm" else "its worker is gone"
    assert f"ending the trainer because {reason}" in output
    if cause != "parent changes":
        assert (processes.folder / "sigterm").exists()
        assert supervisor.returncode == 75


def test_whoever_ignores_sigterm_is_killed_with_its_children(processes: Any, supervise: Any) -> None:
    """The child has a session of its own, as torchrun's ranks have: killing the trainer's process group would miss it."""
    supervisor, held = supervise(processes.trainer("stubborn"), grace_s=0.5)
    trainer, rank = processes.pid("trainer"), processes.pid("rank")
    os.close(held)
    output, _ = supervisor.communicate(timeout=900)
    assert (processes.folder / "sigterm").exists()
    assert supervisor.returncode == 128 + signal.SIGKILL
    assert "did not end in time" in output
    processes.until_gone(trainer, rank)


def test_time_to_save_is_given(processes: Any, supervise: Any) -> None:
    """Nothing is killed within the grace period."""
    supervisor, _ = supervise(processes.trainer("stubborn"), grace_s=600)
    processes.pid("trainer")
    supervisor.terminate()
    processes.until(lambda: (processes.folder / "sigterm").exists(), "SIGTERM never came")
    with pytest.raises(subprocess.TimeoutExpired):
        supervisor.wait(1.0)


def test_trainer_that_ends_leaves_no_child(processes: Any, supervise: Any) -> None:
    supervisor, _ = supervise(processes.trainer("leaves"))
    supervisor.communicate(timeout=900)
    assert supervisor.returncode == 3
    processes.until_gone(processes.pid("rank"))


def test_trainer_dies_with_a_killed_supervisor(processes: Any, supervise: Any) -> None:
    supervisor, _ = supervise(processes.trainer("stubborn"))
    trainer = processes.pid("trainer")
    assert processes.runs(trainer)
    supervisor.kill()
    processes.until_gone(trainer)
    assert not (processes.folder / "sigterm").exists(), "the kernel ends it, nobody asks it first"


def test_signal_that_ended_the_trainer_is_told_as_a_shell_does(processes: Any, supervise: Any) -> None:
    supervisor, _ = supervise(processes.trainer("dies"))
    supervisor.communicate(timeout=900)
    assert supervisor.returncode == 128 + signal.SIGKILL


def test_command_that_is_not_there(supervise: Any) -> None:
    supervisor, _ = supervise(["no-such-torchrun"])
    output, _ = supervisor.communicate(timeout=900)
    assert output.strip() == "supervisor: cannot start no-such-torchrun: No such file or directory"
    assert supervisor.returncode == os.EX_UNAVAILABLE
