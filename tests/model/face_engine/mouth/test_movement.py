"""Movement is told from drift, cuts and slips."""

import numpy as np
import pytest
from numpy.typing import ArrayLike

from model.face_engine.mouth.movement import opening_range

FPS = 25
TIMES_S = np.arange(5 * FPS) / FPS
SYLLABLES = 0.1 * np.abs(np.sin(2 * np.pi * 2.1 * TIMES_S)) * (0.65 + 0.35 * np.sin(2 * np.pi * 0.7 * TIMES_S))
"""A mouth that opens by a tenth of the face's height, some four times a second and not always as wide."""


def _range(openings: ArrayLike, run: ArrayLike | None = None, looks: int = len(TIMES_S)) -> float | None:
    numbers = None if run is None else np.asarray(run, np.int64)
    return opening_range(TIMES_S[:looks], np.asarray(openings, np.float64), numbers)


def test_a_speaking_mouth_has_its_range() -> None:
    assert _range(SYLLABLES) == pytest.approx(0.06, abs=0.02)


def test_a_still_mouth_has_the_range_of_its_noise() -> None:
    found = _range(0.1 + 0.002 * np.random.default_rng(0).standard_normal(len(TIMES_S)))
    assert found is not None
    assert found < 0.008


def test_a_slow_drift_is_no_movement() -> None:
    found = _range(0.02 * TIMES_S / 5)
    assert found is not None
    assert found < 0.005


def test_a_cut_between_two_still_mouths_is_no_movement() -> None:
    second = TIMES_S >= 2.44
    assert _range(np.where(second, 0.15, 0.01), run=second) == pytest.approx(0, abs=1e-9)


def test_one_yawn_is_no_speech() -> None:
    yawn = (TIMES_S >= 2.0) & (TIMES_S < 3.0)
    assert _range(np.where(yawn, 0.3 * np.sin(np.pi * (TIMES_S - 2)), 0.01)) == pytest.approx(0, abs=1e-9)


def test_unmeasured_looks_are_left_out() -> None:
    some = SYLLABLES.copy()
    some[::3] = np.nan
    assert _range(some) == pytest.approx(_range(SYLLABLES), abs=0.02)
    assert _range(np.full(len(TIMES_S), np.nan)) is None


def test_a_moment_is_too_short_to_show_how_far_a_mouth_moves() -> None:
    """Seven looks in a quarter of a second, of which one slips, are no second of speech."""
    openings = [0.01, 0.01, 0.1, 0.01, 0.01, 0.01, 0.01]
    assert _range(openings, looks=7) is None
    assert _range(openings * 2, looks=14) is not None


def test_five_looks_are_too_few_for_a_second() -> None:
    few = np.full(len(TIMES_S), np.nan)
    few[:25:5] = SYLLABLES[:25:5]
    assert _range(few) is None


def test_every_run_counts() -> None:
    """A still mouth for a second, then a speaking one for four."""
    second = TIMES_S >= 1.0
    found = _range(np.where(second, SYLLABLES, 0.01), run=second)
    assert found is not None
    assert found > 0.04


def test_without_runs_there_is_one() -> None:
    assert _range(SYLLABLES) == _range(SYLLABLES, run=np.zeros(len(TIMES_S)))
