"""Movement is told from drift, cuts and slips."""

import numpy as np
import pytest

from lafid_assets.speech.lip_measures import mouth_range
from lafid_assets.speech.lips import MouthTrack

FPS = 25
TIMES_S = np.arange(5 * FPS) / FPS


def track_of(openings, run=None, times_s=TIMES_S) -> MouthTrack:
    run = np.zeros(len(times_s), np.int64) if run is None else run
    return MouthTrack(times_s, np.asarray(openings, float), np.zeros(len(times_s)), run, np.ones(1, np.int64))


def test_a_speaking_mouth_has_its_range(syllables):
    assert mouth_range(track_of(0.1 * syllables(TIMES_S))) == pytest.approx(0.06, abs=0.02)


def test_a_still_mouth_has_the_range_of_its_noise():
    assert mouth_range(track_of(0.1 + 0.002 * np.random.default_rng(0).standard_normal(len(TIMES_S)))) < 0.008


def test_a_slow_drift_is_no_movement():
    assert mouth_range(track_of(0.02 * TIMES_S / 5)) < 0.005


def test_a_cut_between_two_still_mouths_is_no_movement():
    second = TIMES_S >= 2.44
    assert mouth_range(track_of(np.where(second, 0.15, 0.01), run=second.astype(np.int64))) == pytest.approx(0, abs=1e-9)


def test_one_yawn_is_no_speech():
    yawn = (TIMES_S >= 2.0) & (TIMES_S < 3.0)
    assert mouth_range(track_of(np.where(yawn, 0.3 * np.sin(np.pi * (TIMES_S - 2)), 0.01))) == pytest.approx(0, abs=1e-9)


def test_unmeasured_looks_are_left_out(syllables):
    openings = 0.1 * syllables(TIMES_S)
    some = openings.copy()
    some[::3] = np.nan
    assert mouth_range(track_of(some)) == pytest.approx(mouth_range(track_of(openings)), abs=0.02)
    assert mouth_range(track_of(np.full(len(TIMES_S), np.nan))) is None


def test_a_moment_is_too_short_to_show_how_far_a_mouth_moves():
    """Seven looks in a quarter of a second, of which one slips, are no second of speech."""
    openings = [0.01, 0.01, 0.1, 0.01, 0.01, 0.01, 0.01]
    assert mouth_range(track_of(openings, times_s=TIMES_S[:7])) is None
    assert mouth_range(track_of(openings * 2, times_s=TIMES_S[:14])) is not None
