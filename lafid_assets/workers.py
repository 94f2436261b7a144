"""One clip a child process at a time, with a deadline: a clip that crashes or hangs costs itself and nobody else.

Belongs here: starting, feeding, watching and replacing children. Not here: what a child computes.
"""

import multiprocessing as mp
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Done(Generic[Result]):
    """The child finished the task."""

    value: Result


@dataclass(frozen=True)
class Failed:
    """The task raised in the child: a fault of the code or of an engine, not one that the clip's own status tells."""

    message: str


@dataclass(frozen=True)
class Crashed:
    """The child died; a negative exit code is the signal."""

    exit_code: int | None


@dataclass(frozen=True)
class TimedOut:
    """The child was killed at its deadline."""

    deadline_s: float


Ending = Done[Result] | Failed | Crashed | TimedOut


class _Child(Generic[Task, Result]):
    def __init__(self, work: Callable[[Task], Result]) -> None:
        context = mp.get_context("spawn")
        self.pipe, far_end = context.Pipe()
        self.process: BaseProcess = context.Process(target=_serve, args=(work, far_end), daemon=True)
        with _one_thread_each():
            self.process.start()
        far_end.close()
        self.task_index: int | None = None
        self.deadline = 0.0
        self.deadline_s = 0.0

    def give(self, index: int, task: Task, deadline_s: float) -> None:
        self.task_index, self.deadline_s = index, deadline_s
        self.deadline = time.monotonic() + deadline_s
        with suppress(BrokenPipeError, ConnectionResetError):  # `ending` tells of a child that is dead
            self.pipe.send(task)

    @property
    def died_idle(self) -> bool:
        """Whether it died after its last answer: an engine can bring its process down late, and no waiting task is to blame."""
        return self.task_index is None and not self.process.is_alive()

    def ending(self) -> Ending[Result] | None:
        """How the current task ended, or None while it runs."""
        if self.pipe.poll():
            try:
                ok, value = self.pipe.recv()
            except (EOFError, OSError):  # it died before its answer, or in the middle of it
                self.process.join()
                return Crashed(self.process.exitcode)
            return Done(value) if ok else Failed(value)
        if not self.process.is_alive():
            return Crashed(self.process.exitcode)
        return TimedOut(self.deadline_s) if time.monotonic() > self.deadline else None

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def map_isolated(
    work: Callable[[Task], Result],
    tasks: Sequence[Task],
    deadline_s: Callable[[Task], float],
    workers: int | None = None,
) -> Iterator[tuple[int, Ending[Result]]]:
    """Run `work` on every task in child processes, one a core, and yield (index of the task, how it ended) as they end.

    Args:
        work: a module-level function; tasks and results cross the process border.
        deadline_s: how long a task may take.
        workers: children at a time; the number of usable cores when None.
    """
    count = min(workers or len(os.sched_getaffinity(0)), len(tasks))
    waiting = list(reversed(range(len(tasks))))
    children: list[_Child[Task, Result]] = []
    try:
        while waiting or any(child.task_index is not None for child in children):
            for child in [child for child in children if child.died_idle]:
                child.stop()
                children.remove(child)
            while waiting and len(children) < count:
                children.append(_Child(work))
            for child in children:
                if child.task_index is None and waiting:
                    index = waiting.pop()
                    child.give(index, tasks[index], deadline_s(tasks[index]))
            busy = [child for child in children if child.task_index is not None]
            patience = max(0.0, min(child.deadline for child in busy) - time.monotonic())
            wait([child.pipe for child in busy] + [child.process.sentinel for child in busy], timeout=patience + 0.01)
            for child in busy:
                ending = child.ending()
                if ending is None or child.task_index is None:
                    continue
                yield child.task_index, ending
                child.task_index = None
                if isinstance(ending, Crashed | TimedOut):
                    child.stop()
                    children.remove(child)
    finally:
        for child in children:
            child.stop()


def _serve(work: Callable[[Any], Any], pipe: Connection) -> None:
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        try:
            answer = (True, work(task))
        except Exception as error:
            answer = (False, f"{type(error).__name__}: {error}")
        pipe.send(answer)


class _one_thread_each:  # noqa: N801 - reads as a phrase at its one place of use
    """Children inherit one-thread limits, so that a core has one busy thread; the parent's environment stays as it was."""

    def __enter__(self) -> None:
        self.before = {name: os.environ.get(name) for name in THREAD_LIMITS}
        os.environ.update(dict.fromkeys(THREAD_LIMITS, "1"))

    def __exit__(self, *_: object) -> None:
        for name, value in self.before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
