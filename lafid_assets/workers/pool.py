"""One clip a child process at a time, within a deadline and a memory limit: a clip that crashes, hangs or swells costs itself and
nobody else.

Belongs here: starting, feeding, watching, recycling, keeping and replacing children. Not here: what a child computes (`child`
is its side), when it is late (`deadlines`), what an ending means for a clip (`exit_reasons`).
"""

import multiprocessing as mp
import os
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from time import monotonic
from typing import Any, Generic, Protocol, TypeVar

from lafid_assets.workers.child import LENGTH_BYTES, OUT_OF_MEMORY, RAISED, serve
from lafid_assets.workers.deadlines import Deadline, cpu_seconds
from resources.cores import usable_cores

Task = TypeVar("Task")
Result = TypeVar("Result")

THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM", "POLARS_MAX_THREADS")
SECONDS_BETWEEN_LOOKS = 0.1
BYTES_AT_ONCE = 1 << 20
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class ChildLimits:
    """What a child may use before it is killed, and how long it lives.

    None sets no limit.

    Attributes:
        memory_bytes: resident memory at which the parent kills it. Address space is no measure: CUDA reserves far more than it
            uses.
        recycle_bytes: resident memory after a task above which it is replaced: allocators and engines keep what they once had.
        recycle_tasks: tasks after which it is replaced.
    """

    memory_bytes: int | None = None
    recycle_bytes: int | None = None
    recycle_tasks: int | None = None


@dataclass(frozen=True)
class Children:
    """The processes of one map.

    Attributes:
        count: how many at a time; as many as the run has cores when None.
        environments: variables by their place among those alive, in turn: what each of them alone may use.
        limits: memory and life of each.
    """

    count: int | None = None
    environments: Sequence[Mapping[str, str]] = ()
    limits: ChildLimits = field(default_factory=ChildLimits)


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
    """The child died before its answer was complete; a negative exit code is the signal."""

    exit_code: int | None


@dataclass(frozen=True)
class TimedOut:
    """The child was killed at its deadline."""

    deadline_s: float


@dataclass(frozen=True)
class OutOfMemory:
    """The child was killed at its memory limit, or was itself refused memory: then `limit_bytes` may be None."""

    limit_bytes: int | None


@dataclass(frozen=True)
class NotFetched:
    """The task was given to no child: the file that it would open cannot be brought here.

    Attributes:
        is_missing: there is no such file any more.
    """

    message: str
    is_missing: bool


Ending = Done[Result] | Failed | Crashed | TimedOut | OutOfMemory | NotFetched


class Supply(Protocol):
    """Which tasks may begin, by index, each once."""

    @property
    def left(self) -> bool:
        """Whether a task was not given out yet."""

    def next(self) -> int | None:
        """A task that may begin now; None while there is none."""


class _InOrder:
    """All may begin."""

    def __init__(self, count: int) -> None:
        self._next, self._count = 0, count

    @property
    def left(self) -> bool:
        return self._next < self._count

    def next(self) -> int | None:
        if not self.left:
            return None
        self._next += 1
        return self._next - 1


class _Child:
    """One process: it does whatever work it is given."""

    def __init__(self, environment: Mapping[str, str], limits: ChildLimits, place: int, *, knows_program: bool) -> None:
        context = mp.get_context("spawn")
        task_end, self.tasks = context.Pipe(duplex=False)
        self.answers, answer_end = context.Pipe(duplex=False)
        self.process: BaseProcess = context.Process(target=serve, args=(task_end, answer_end, os.getpid()), daemon=True)
        with (
            _environment(dict.fromkeys(THREAD_LIMITS, "1") | dict(environment)),
            nullcontext() if knows_program else _without_program(),
        ):
            self.process.start()
        task_end.close()
        answer_end.close()
        # Read piece by piece: a child that stops in the middle of an answer must not stop its parent.
        os.set_blocking(self.answers.fileno(), False)
        self.environment, self.knows_program = dict(environment), knows_program
        self.limits, self.place = limits, place
        self.task_index: int | None = None
        self.tasks_done = 0
        self.deadline = Deadline(0.0, 0.0, 0.0)
        self.received = bytearray()

    def give(self, index: int, work: Callable[[Any], Any], task: Any, deadline_s: float) -> None:
        self.task_index = index
        self.deadline = Deadline(deadline_s, monotonic(), cpu_seconds(self.process.pid))
        with suppress(BrokenPipeError, ConnectionResetError):  # `ending` tells of a child that is dead
            self.tasks.send((work, task))

    @property
    def spent(self) -> bool:
        """Whether it should be replaced before the next task. An engine can bring its process down after the answer, too."""
        if self.task_index is not None:
            return False
        worn = self.limits.recycle_tasks is not None and self.tasks_done >= self.limits.recycle_tasks
        return worn or not self.process.is_alive() or (self.tasks_done > 0 and self._holds_more_than(self.limits.recycle_bytes))

    def ending(self) -> Ending[Any] | None:
        """How the current task ended, or None while it runs."""
        was_alive = self.process.is_alive()  # asked first: what a child sent before it died has then arrived
        self._receive()
        answer = self._answer()
        if answer is not None:
            self.tasks_done += 1
            return answer
        if not was_alive:
            return Crashed(self.process.exitcode)
        if self._holds_more_than(self.limits.memory_bytes):
            return OutOfMemory(self.limits.memory_bytes)
        is_late = self.deadline.has_passed(monotonic(), cpu_seconds(self.process.pid))
        return TimedOut(self.deadline.limit_s) if is_late else None

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.tasks.close()
        self.answers.close()

    def _holds_more_than(self, limit_bytes: int | None) -> bool:
        return limit_bytes is not None and resident_bytes(self.process.pid) > limit_bytes

    def _receive(self) -> None:
        with suppress(BlockingIOError):
            while piece := os.read(self.answers.fileno(), BYTES_AT_ONCE):
                self.received += piece

    def _answer(self) -> Ending[Any] | None:
        length = int.from_bytes(self.received[:LENGTH_BYTES], "big")
        if len(self.received) < LENGTH_BYTES or len(self.received) < LENGTH_BYTES + length:
            return None
        payload = bytes(self.received[LENGTH_BYTES : LENGTH_BYTES + length])
        self.received.clear()
        try:
            kind, value = ForkingPickler.loads(payload)
        except Exception as error:  # whatever the types in the answer raise when they are built anew
            return Failed(f"its answer cannot be read: {type(error).__name__}: {error}")
        if kind == OUT_OF_MEMORY:
            return OutOfMemory(self.limits.memory_bytes)
        return Failed(value) if kind == RAISED else Done(value)


_KEPT: ContextVar[list[_Child] | None] = ContextVar("kept children", default=None)


@contextmanager
def kept_children() -> Iterator[None]:
    """Maps that run inside give each other their children: an engine is loaded once, not for every shard and pass."""
    kept: list[_Child] = []
    before = _KEPT.set(kept)
    try:
        yield
    finally:
        _KEPT.reset(before)
        for child in kept:
            child.stop()


def map_isolated(
    work: Callable[[Task], Result],
    tasks: Sequence[Task],
    deadline_s: Callable[[Task], float],
    children: Children | None = None,
    supply: Supply | None = None,
) -> Iterator[tuple[int, Ending[Result]]]:
    """Run `work` on every task in child processes and yield (index of the task, how it ended) as they end.

    Children run one thread each and die with their parent, however it dies.

    Args:
        work: a module-level function; tasks and results cross the process border.
        deadline_s: how long a task may compute, or do nothing at all, the start of a new child included.
        children: one a core, without limits, when None.
        supply: which task comes next; in their order when None.
    """
    chosen = children or Children()
    count = min(chosen.count or usable_cores(), len(tasks))
    supply = supply or _InOrder(len(tasks))
    knows_program = getattr(work, "__module__", None) == "__main__"  # a script's own function
    alive: list[_Child] = []
    try:
        while supply.left or any(child.task_index is not None for child in alive):
            for child in [child for child in alive if child.spent]:
                child.stop()
                alive.remove(child)
            while supply.left and len(alive) < count:
                place = min(set(range(count)) - {child.place for child in alive})
                alive.append(_child(chosen, place, knows_program=knows_program))
            for child in alive:
                if child.task_index is None and (index := supply.next()) is not None:
                    child.give(index, work, tasks[index], deadline_s(tasks[index]))
            busy = [child for child in alive if child.task_index is not None]
            handles: list[Any] = [handle for child in busy for handle in (child.answers, child.process.sentinel)]
            wait(handles, timeout=SECONDS_BETWEEN_LOOKS)
            for child in busy:
                ending = child.ending()
                if ending is None or child.task_index is None:
                    continue
                if not isinstance(ending, Done | Failed):
                    child.stop()
                    alive.remove(child)
                index, child.task_index = child.task_index, None
                left_at = monotonic()
                yield index, ending
                for other in alive:
                    other.deadline.forgive(monotonic() - left_at)
    finally:
        kept = _KEPT.get()
        for child in alive:
            if kept is None or child.task_index is not None:
                child.stop()
            else:
                kept.append(child)


def _child(chosen: Children, place: int, *, knows_program: bool) -> _Child:
    """One that an earlier map has left, or a new one."""
    environment = chosen.environments[place % len(chosen.environments)] if chosen.environments else {}
    kept = _KEPT.get() or []
    for child in [one for one in kept if (one.environment, one.knows_program) == (environment, knows_program)]:
        kept.remove(child)
        child.limits, child.place = chosen.limits, place
        if not child.spent:
            return child
        child.stop()
    return _Child(environment, chosen.limits, place, knows_program=knows_program)


@contextmanager
def _without_program() -> Iterator[None]:
    """A child that is started inside does not load the program that its parent was started by: of the `lafid` command that takes
    it longer than many a clip."""
    program, sys.modules["__main__"] = sys.modules["__main__"], types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = program


def resident_bytes(pid: int | None) -> int:
    """Memory that the process holds in RAM; 0 for one that has ended."""
    try:
        with open(f"/proc/{pid}/statm") as counts:
            return int(counts.read().split()[1]) * PAGE_BYTES
    except (FileNotFoundError, ProcessLookupError):
        return 0


class _environment:  # noqa: N801 - reads as a phrase at its one place of use
    """Children inherit these variables, thread limits among them so that a core has one busy thread; the parent's own stay."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self.variables = variables

    def __enter__(self) -> None:
        self.before = {name: os.environ.get(name) for name in self.variables}
        os.environ.update(self.variables)

    def __exit__(self, *_: object) -> None:
        for name, value in self.before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
