"""Children that crash, hang and raise cost their own task and no other."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from lafid_assets.workers import THREAD_LIMITS, Crashed, Done, Failed, TimedOut, map_isolated

LONG_S = 60.0


def _behave(task: str) -> str:
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
    if task == "slow":
        time.sleep(0.3)
    return f"{task} done"


def _deadline_s(task: str) -> float:
    return 1.0 if task == "hang" else LONG_S


def _endings(tasks: list[str], workers: int) -> list[object]:
    found = dict(map_isolated(_behave, tasks, _deadline_s, workers))
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


def test_results_come_as_they_end_under_their_own_index() -> None:
    order = [index for index, _ in map_isolated(_slow_first, [0.8, 0.0, 0.0], lambda _: LONG_S, 2)]
    assert sorted(order) == [0, 1, 2]
    assert order[0] != 0


def _slow_first(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def test_child_that_dies_between_two_tasks_costs_no_task() -> None:
    """An engine can bring its process down after it has answered; the next clip is not to blame."""
    assert _wait_between(["die later", "b", "c"]) == [Done("die later done"), Done("b done"), Done("c done")]


def _wait_between(tasks: list[str]) -> list[object]:
    found = {}
    for index, ending in map_isolated(_behave, tasks, _deadline_s, 1):
        found[index] = ending
        time.sleep(0.5)  # the caller is busy with the result while the child dies
    return [found[index] for index in range(len(tasks))]


def test_child_that_cannot_start_is_a_crash_of_its_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "import os\nif os.environ.get('BROKEN'): os._exit(5)\ndef work(task): return task\n"
    (tmp_path / "fine_here_only.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    import fine_here_only

    monkeypatch.setenv("BROKEN", "1")
    big = ["x" * 1_000_000, "y"]
    assert [ending for _, ending in map_isolated(fine_here_only.work, big, _deadline_s, 1)] == [Crashed(5), Crashed(5)]


def test_answer_broken_off_in_the_middle_is_a_crash() -> None:
    assert [ending for _, ending in map_isolated(_break_off, [0], lambda _: LONG_S)] == [Crashed(6)]


class _Torn:
    def __reduce__(self) -> tuple:
        os.write(_pipe_of_child(), (1000).to_bytes(4, "big") + b"half an answer")
        os._exit(6)


def _pipe_of_child() -> int:
    """The child's end of the pipe to its parent: the socket that the parent opened for it."""
    import multiprocessing.connection as connection

    frame = sys._getframe()
    while frame is not None:
        if isinstance(frame.f_locals.get("pipe"), connection.Connection):
            return frame.f_locals["pipe"].fileno()
        frame = frame.f_back
    raise AssertionError("no pipe on the stack")


def _break_off(_: int) -> _Torn:
    return _Torn()


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


def _own_pid(_: int) -> int:
    return os.getpid()


def test_children_are_reused_and_gone_at_the_end() -> None:
    pids = {ending.value for _, ending in map_isolated(_own_pid, [0, 1, 2], lambda _: LONG_S, 1)}
    assert len(pids) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(pids.pop(), 0)


def test_giving_up_early_ends_the_children() -> None:
    endings = map_isolated(_own_pid, [0, 1, 2], lambda _: LONG_S, 1)
    _, first = next(endings)
    endings.close()
    with pytest.raises(ProcessLookupError):
        os.kill(first.value, 0)
