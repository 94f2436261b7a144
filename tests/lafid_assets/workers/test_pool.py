"""Children that crash, hang, swell and raise cost their own task and no other."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest

from lafid_assets.workers import pool
from lafid_assets.workers.child import LENGTH_BYTES
from lafid_assets.workers.pool import (
    THREAD_LIMITS,
    ChildLimits,
    Children,
    Crashed,
    Done,
    Failed,
    OutOfMemory,
    TimedOut,
    map_isolated,
)

LONG_S = 60.0


def _behave(task: str) -> str:
    if task == "print":
        print("an engine's complaint")
    if task == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if task == "exit":
        os._exit(3)
    if task == "hang":
        time.sleep(1000)
    if task == "raise":
        raise ValueError("no such luck")
    if task == "die later":
        threading.Timer(0.05, os._exit, [4]).start()
        return str(os.getpid())
    if task == "slow":
        time.sleep(0.3)
    return f"{task} done"


def _deadline_s(task: str) -> float:
    return 1.0 if task == "hang" else LONG_S


def _endings(tasks: list[str], workers: int) -> list[object]:
    found = dict(map_isolated(_behave, tasks, _deadline_s, Children(workers)))
    assert sorted(found) == list(range(len(tasks)))
    return [found[index] for index in range(len(tasks))]


@pytest.mark.parametrize("workers", [1, 2])
def test_neighbours_of_bad_tasks_keep_their_results(workers: int) -> None:
    endings = _endings(["a", "crash", "b", "hang", "c", "raise", "d", "exit", "e"], workers)
    assert endings == [
        Done("a done"),
        Crashed(-signal.SIGKILL),
        Done("b done"),
        TimedOut(1.0),
        Done("c done"),
        Failed("ValueError: no such luck"),
        Done("d done"),
        Crashed(3),
        Done("e done"),
    ]


def test_deadline_is_one_of_cpu_time_and_not_of_the_clock_on_the_wall(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine, simulated: at every look weeks have gone by, in which the child had a minute of a core, or nothing."""
    looks = itertools.count()
    cpu_s = itertools.count(0.0, 60.0)
    monkeypatch.setattr(pool, "SECONDS_BETWEEN_LOOKS", 0.5)
    monkeypatch.setattr(pool, "monotonic", lambda: 1e6 * next(looks))
    monkeypatch.setattr(pool, "cpu_seconds", lambda pid: next(cpu_s))
    assert dict(map_isolated(_behave, ["slow"], lambda _: 6000.0)) == {0: Done("slow done")}
    monkeypatch.setattr(pool, "cpu_seconds", lambda pid: 0.0)
    assert dict(map_isolated(_behave, ["hang"], lambda _: 6000.0)) == {0: TimedOut(6000.0)}


def test_a_parent_that_is_away_for_long_blames_no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child may wait until its answer is taken: whoever uses the answers may take longer for one than a child has."""
    clock_s = [0.0]
    monkeypatch.setattr(pool, "monotonic", lambda: clock_s[0])
    monkeypatch.setattr(pool, "cpu_seconds", lambda pid: 0.0)
    found = {}
    for index, ending in map_isolated(_behave, ["quick", "slow"], lambda _: 6000.0, Children(2)):
        found[index] = ending
        clock_s[0] += 7000.0
    assert found == {0: Done("quick done"), 1: Done("slow done")}


def test_results_come_as_they_end_under_their_own_index(tmp_path: Path) -> None:
    """The first task ends when the result of another one has come."""
    order = []
    for index, ending in map_isolated(
        _number_once, [(0, tmp_path / "come"), (1, None), (2, None)], lambda _: LONG_S, Children(2)
    ):
        assert ending == Done(index)
        order.append(index)
        (tmp_path / "come").touch()
    assert sorted(order) == [0, 1, 2]
    assert order[0] != 0


def _number_once(task: tuple[int, Path | None]) -> int:
    number, path = task
    while path is not None and not path.exists():
        time.sleep(0.01)
    return number


def test_child_that_dies_between_two_tasks_costs_no_task() -> None:
    """An engine can bring its process down after it has answered; the next clip is not to blame."""
    found = []
    for _, ending in map_isolated(_behave, ["die later", "b", "c"], _deadline_s, Children(1)):
        if not found:  # the caller is busy with the result while the child dies
            wait_until(lambda pid=int(ending.value): not runs(pid))
        found.append(ending)
    assert found[1:] == [Done("b done"), Done("c done")]


def test_a_child_does_not_load_the_program_that_started_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    program = ModuleType("__main__")
    program.__spec__ = ModuleSpec("there_is_none", None)
    monkeypatch.setitem(sys.modules, "__main__", program)
    assert _endings(["a"], 1) == [Done("a done")]
    assert sys.modules["__main__"] is program


def test_child_that_cannot_start_is_a_crash_of_its_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "import os\nif os.environ.get('BROKEN'): os._exit(5)\ndef work(task): return task\n"
    (tmp_path / "fine_here_only.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    import fine_here_only

    monkeypatch.setenv("BROKEN", "1")
    big = ["x" * 1_000_000, "y"]
    assert [ending for _, ending in map_isolated(fine_here_only.work, big, _deadline_s, Children(1))] == [Crashed(5), Crashed(5)]


@pytest.mark.parametrize(("behaviour", "ending"), [("die", Crashed(6)), ("stop", TimedOut(3.0))])
def test_answer_broken_off_in_the_middle_is_none(behaviour: str, ending: object) -> None:
    """Dead or merely frozen, the child that sends half an answer costs its task; its parent does not wait for the rest."""
    assert dict(map_isolated(_break_off, [behaviour], lambda _: 3.0)) == {0: ending}


def _break_off(behaviour: str) -> None:
    """Writes a part of an answer to the pipe that leads to the parent, then dies or freezes."""
    frame = sys._getframe()
    while frame is not None and "answers" not in frame.f_locals:
        frame = frame.f_back
    assert frame is not None
    os.write(frame.f_locals["answers"].fileno(), (1000).to_bytes(LENGTH_BYTES, "big") + b"half an answer")
    if behaviour == "die":
        os._exit(6)
    os.kill(os.getpid(), signal.SIGSTOP)


def test_what_a_child_printed_before_it_died_is_kept(capfd: pytest.CaptureFixture[str]) -> None:
    assert _endings(["print", "crash"], 1) == [Done("print done"), Crashed(-signal.SIGKILL)]
    assert capfd.readouterr().out == "an engine's complaint\n"


def test_answer_that_cannot_cross_the_border_is_a_fault_of_its_task() -> None:
    found = dict(map_isolated(_answer_oddly, ["lambda", "unreadable", "fine"], lambda _: LONG_S, Children(1)))
    assert [type(found[index]) for index in range(3)] == [Failed, Failed, Done]
    assert "cannot be read" in found[1].message


def _answer_oddly(kind: str) -> object:
    return {"lambda": lambda: None, "unreadable": _Unreadable(), "fine": None}[kind]


class _Unreadable:
    def __reduce__(self) -> tuple[object, ...]:
        return int, ("no number",)


MIB = 1 << 20


def _swell(size_mib: int) -> int:
    held = bytearray(size_mib * MIB)
    if size_mib:
        time.sleep(LONG_S)
    return len(held)


def test_child_that_outgrows_its_memory_costs_its_task_only() -> None:
    limits = ChildLimits(memory_bytes=300 * MIB)
    found = dict(map_isolated(_swell, [0, 400, 0], lambda _: LONG_S, Children(1, limits=limits)))
    assert [found[index] for index in range(3)] == [Done(0), OutOfMemory(300 * MIB), Done(0)]


def _refused(size: int) -> int:
    if size:
        raise MemoryError
    return os.getpid()


def test_child_that_is_refused_memory_costs_its_task_and_is_replaced() -> None:
    found = dict(map_isolated(_refused, [0, 1, 0], lambda _: LONG_S, Children(1)))
    assert found[1] == OutOfMemory(None)
    assert found[0].value != found[2].value


def test_child_is_recycled_after_so_many_tasks() -> None:
    endings = map_isolated(own_pid, list(range(5)), lambda _: LONG_S, Children(1, limits=ChildLimits(recycle_tasks=2)))
    pids = [ending.value for _, ending in endings]
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]


def _keep(size_mib: int) -> int:
    KEPT.append(bytearray(size_mib * MIB))
    return os.getpid()


KEPT: list[bytearray] = []


def test_child_that_keeps_memory_is_recycled_after_its_answer() -> None:
    endings = map_isolated(_keep, [0, 300, 0], lambda _: LONG_S, Children(1, limits=ChildLimits(recycle_bytes=250 * MIB)))
    pids = [ending.value for _, ending in endings]
    assert pids[0] == pids[1] != pids[2]


PARENT = """
import sys
from tests.lafid_assets.workers.test_pool import Children, map_isolated, _tell_pid_and_sleep
if __name__ == "__main__":
    list(map_isolated(_tell_pid_and_sleep, [sys.argv[1] + "/a", sys.argv[1] + "/b"], lambda _: 600.0, Children(2)))
"""


def _tell_pid_and_sleep(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    time.sleep(600)


def test_parent_that_is_killed_leaves_no_orphans(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    root = Path(__file__).resolve().parents[3]
    environment = os.environ | {"PYTHONPATH": str(root)}
    with subprocess.Popen([sys.executable, str(tmp_path / "parent.py"), str(tmp_path)], cwd=root, env=environment) as parent:
        pids = [_pid_in(tmp_path / name, parent) for name in "ab"]
        parent.kill()
    wait_until(lambda: not any(runs(pid) for pid in pids))
    assert len(set(pids)) == 2


def _pid_in(path: Path, parent: subprocess.Popen[bytes]) -> int:
    wait_until(lambda: parent.poll() is not None or (path.exists() and path.read_text() != ""))
    assert parent.poll() is None, "the parent ended before its children told their pids"
    return int(path.read_text())


def runs(pid: int) -> bool:
    """A killed orphan stays a zombie where nobody adopts it; it no longer runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come about within a minute")


def _threads(_: int) -> tuple[int, int]:
    import cv2
    import polars as pl

    return cv2.getNumThreads(), pl.thread_pool_size()


def test_libraries_in_a_child_run_one_thread() -> None:
    assert dict(map_isolated(_threads, [0], lambda _: LONG_S)) == {0: Done((1, 1))}


def _limits(_: int) -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in THREAD_LIMITS}


def test_children_inherit_one_thread_limits_and_the_parent_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)

    [(_, ending)] = map_isolated(_limits, [0], lambda _: LONG_S)

    assert ending == Done(dict.fromkeys(THREAD_LIMITS, "1"))
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


def test_no_tasks_start_no_child() -> None:
    assert list(map_isolated(_behave, [], _deadline_s)) == []


def own_pid(_: int) -> int:
    return os.getpid()


def test_children_are_reused_and_gone_at_the_end() -> None:
    pids = {ending.value for _, ending in map_isolated(own_pid, [0, 1, 2], lambda _: LONG_S, Children(1))}
    assert len(pids) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(pids.pop(), 0)


def test_giving_up_early_ends_the_children() -> None:
    endings = map_isolated(own_pid, [0, 1, 2], lambda _: LONG_S, Children(1))
    _, first = next(endings)
    endings.close()
    with pytest.raises(ProcessLookupError):
        os.kill(first.value, 0)


def _device(task: tuple[str, Path]) -> str | None:
    """Waits until a child of each place has a task, so that neither does them all."""
    name, folder = task
    if name == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / str(os.environ.get("DEVICE"))).touch()
    wait_until(lambda: len(list(folder.iterdir())) == 2)
    return os.environ.get("DEVICE")


def test_each_child_has_the_environment_of_its_place_and_so_has_the_one_that_replaces_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DEVICE", "the parent's")
    environments = [{"DEVICE": "first"}, {"DEVICE": "second"}]
    tasks = [(name, tmp_path) for name in ("crash", "a", "b", "c", "d")]
    found = dict(map_isolated(_device, tasks, lambda _: LONG_S, Children(2, environments)))
    assert found.pop(0) == Crashed(-signal.SIGKILL)
    assert {ending.value for ending in found.values()} == {"first", "second"}
    assert os.environ["DEVICE"] == "the parent's"
    assert dict(map_isolated(os.getenv, ["DEVICE"], lambda _: LONG_S)) == {0: Done("the parent's")}


def test_there_are_as_many_children_as_the_run_was_given_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(4))
    monkeypatch.setenv("LAFID_CPUS", "1.0")
    pids = [ending.value for _, ending in map_isolated(_pid, ["a", "b", "c"], _deadline_s) if isinstance(ending, Done)]
    assert (len(pids), len(set(pids))) == (3, 1)


def _pid(_: str) -> int:
    return os.getpid()
