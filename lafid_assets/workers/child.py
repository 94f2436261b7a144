"""The child's side of `workers`: take a task, answer, until the parent is gone.

Belongs here: what happens inside a child before and after its work. Not here: anything that is slow to import: every child
pays for it.
"""

import ctypes
import os
import signal
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

from resources.output import print_line_by_line

LENGTH_BYTES = 8
FINISHED, RAISED, OUT_OF_MEMORY = "finished", "raised", "out of memory"

PR_SET_PDEATHSIG = 1
FIRST_TO_GO = "1000"


def serve(tasks: Connection, answers: Connection, parent: int) -> None:
    """Do the work that comes with each task until the parent closes the pipe.

    A child that was refused memory ends, because its engines may be half built.
    """
    _die_with(parent)
    print_line_by_line()  # children are killed, even those that have done their work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupted parent ends its children itself
    while True:
        try:
            received = tasks.recv_bytes()
        except EOFError:
            return
        try:
            work, task = ForkingPickler.loads(received)
            answer = ForkingPickler.dumps((FINISHED, work(task)))
        except MemoryError:
            _send(answers, ForkingPickler.dumps((OUT_OF_MEMORY, None)))
            return
        except Exception as error:
            answer = ForkingPickler.dumps((RAISED, f"{type(error).__name__}: {error}"))
        _send(answers, answer)


def leave_no_semaphore() -> None:
    """Progress bars of this child do without one: children are killed, and Python would tell the user that it is left."""
    from tqdm.std import TqdmDefaultWriteLock

    TqdmDefaultWriteLock.mp_lock = None


def _send(answers: Connection, answer: Any) -> None:
    with open(answers.fileno(), "wb", closefd=False) as stream:
        stream.write(len(answer).to_bytes(LENGTH_BYTES, "big"))
        stream.write(answer)


def _die_with(parent: int) -> None:
    """Ask the kernel to end this process with its parent, and to take it first when memory runs out."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it went before the kernel was asked
        os._exit(1)
    with suppress(OSError):  # some containers hold /proc read-only; the parent's own limit still stands
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_GO)
