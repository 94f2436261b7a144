"""Deadlines count CPU time: a busy machine costs no task, a child that computes too long or hangs is given up."""

import os

import pytest

from lafid_assets.workers.deadlines import Deadline, cpu_seconds

LIMIT_S = 60.0


def _given_up_at_s(share_of_a_core: float, needs_s: float = float("inf")) -> float | None:
    """When a child with that share of a core is given up, looked at every tenth of a second; None when it is done before."""
    deadline = Deadline(LIMIT_S, 1000.0, 7.0)
    for look in range(1, 200_000):
        now_s = look / 10
        if share_of_a_core * now_s >= needs_s:
            return None
        if deadline.has_passed(1000.0 + now_s, 7.0 + share_of_a_core * now_s):
            return now_s
    return None


@pytest.mark.parametrize("share", [1.0, 0.5, 0.05])
def test_a_good_task_is_done_however_busy_the_machine(share: float) -> None:
    assert _given_up_at_s(share, needs_s=55.0) is None


def test_a_task_that_computes_too_long_is_given_up() -> None:
    assert _given_up_at_s(1.0) == pytest.approx(LIMIT_S, abs=0.2)
    assert _given_up_at_s(0.5) == pytest.approx(2 * LIMIT_S, abs=0.2)


@pytest.mark.parametrize("share", [0.0, 0.002])
def test_a_task_that_hangs_is_given_up_even_if_it_looks_around_now_and_then(share: float) -> None:
    assert _given_up_at_s(share) == pytest.approx(LIMIT_S, abs=0.2)


def test_a_task_that_was_frozen_for_less_than_its_deadline_goes_on() -> None:
    deadline = Deadline(LIMIT_S, 0.0, 0.0)
    for start_s in (0.0, 50.0, 100.0, 150.0):  # a second of work, then a long wait
        assert not deadline.has_passed(start_s + 1.0, start_s / 50 + 1.0)
        assert not deadline.has_passed(start_s + 49.0, start_s / 50 + 1.0)


def test_cpu_time_is_that_of_the_process() -> None:
    before = cpu_seconds(os.getpid())
    while cpu_seconds(os.getpid()) < before + 0.05:
        sum(range(10_000))
    assert cpu_seconds(os.getpid()) == pytest.approx(sum(os.times()[:4]), abs=0.2)
    assert cpu_seconds(2**22 + 1) == 0.0


def test_a_child_that_waits_for_its_answer_to_be_taken_does_not_hang() -> None:
    """The parent was away for longer than the deadline; what comes after that counts again."""
    deadline = Deadline(LIMIT_S, 1000.0, 7.0)
    deadline.forgive(500.0)
    assert not deadline.has_passed(1500.0 + LIMIT_S, 7.0)
    assert deadline.has_passed(1500.1 + LIMIT_S, 7.0)
