"""The process between worker and trainer: whatever becomes of the worker, the trainer and all its children end.

`python -m resources.trainer.supervisor --lifeline FD --worker PID --grace-s S -- command...`

The worker holds the other end of the pipe `FD` and writes nothing; the pipe closes when the worker dies, however it dies. Then,
or on SIGTERM, the trainer gets SIGTERM and a time to save its state; after that everything below this process gets SIGKILL.

Belongs here: noticing, asking, killing. Not here: anything of Dagster or torch: this must start fast and cannot fail with them.
"""

import argparse
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import psutil

SECONDS_BETWEEN_LOOKS = 0.2
KILL_PATIENCE_S = 30.0
"""How long killed processes are waited for: one that hangs in a driver dies only when the driver lets it."""
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def main() -> int:
    """The trainer's exit code; 128 + n when signal n ended it, as a shell has it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lifeline", type=int, required=True, help="file descriptor that closes with the worker")
    parser.add_argument("--worker", type=int, required=True, help="process id of the worker")
    parser.add_argument("--grace-s", type=float, required=True, help="seconds between SIGTERM and SIGKILL")
    parser.add_argument("command", nargs="+", help="the trainer")
    options = parser.parse_args()

    asked: list[int] = []
    for expected in (signal.SIGTERM, signal.SIGINT):
        signal.signal(expected, lambda number, _frame: asked.append(number))
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        trainer = subprocess.Popen(
            options.command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_die_with_supervisor
        )
    except OSError as error:
        _say(f"cannot start {options.command[0]}: {error.strerror}")
        return os.EX_UNAVAILABLE
    why = _wait(trainer, lambda: "it was told to" if asked else _worker_gone(options.lifeline, options.worker))
    if why:
        _say(f"ending the trainer because {why}: SIGTERM, SIGKILL after {options.grace_s:g} s")
        trainer.terminate()
        try:
            trainer.wait(options.grace_s)
        except subprocess.TimeoutExpired:
            _say("the trainer did not end in time")
    code = _kill(trainer)
    _kill_everything_below()
    return code if code >= 0 else 128 - code


def _wait(trainer: "subprocess.Popen[bytes]", reason_to_end: Callable[[], str | None]) -> str | None:
    """None when the trainer ended by itself."""
    while trainer.poll() is None:
        if why := reason_to_end():
            return why
    return None


def _worker_gone(lifeline: int, worker: int) -> str | None:
    """Waits a moment. The parent's id is asked for, too: a process that the worker forked may hold the pipe open after it."""
    closed, _, _ = select.select([lifeline], [], [], SECONDS_BETWEEN_LOOKS)
    return "its worker is gone" if closed or os.getppid() != worker else None


def _kill(trainer: "subprocess.Popen[bytes]") -> int:
    """Its exit code. Before the others, because psutil would reap it and its code be lost."""
    trainer.kill()
    try:
        return trainer.wait(KILL_PATIENCE_S)
    except subprocess.TimeoutExpired:
        return -signal.SIGKILL


def _kill_everything_below() -> None:
    """SIGKILL to all descendants, those with sessions of their own included: torchrun gives every rank one.

    Orphans of descendants are children of this process, the subreaper, so none escapes.
    """
    deadline = time.monotonic() + KILL_PATIENCE_S
    while left := psutil.Process().children(recursive=True):
        if time.monotonic() > deadline:
            _say(f"these cannot be killed: {', '.join(str(process.pid) for process in left)}")
            return
        for process in left:
            try:
                process.kill()
            except psutil.NoSuchProcess:  # its end is what is wanted
                continue
        psutil.wait_procs(left, timeout=1)


def _die_with_supervisor() -> None:
    """Runs in the trainer before it is the trainer: should somebody kill this process, the trainer has nobody to end it."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value)


def _say(message: str) -> None:
    print(f"supervisor: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
