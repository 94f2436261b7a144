"""Movement is told from drift, cuts and slips; lips that follow a voice are told from lips that do not."""

import numpy as np
import pytest

from lafid_assets.speech.audio import Audio
from lafid_assets.speech.lip_measures import lip_sync, mouth_range
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


@pytest.fixture
def speech_sound(syllables, noise) -> Audio:
    """Six seconds of sound that is loud where `syllables` opens the mouth."""
    return Audio((noise(6.0) * syllables(np.arange(6 * 16_000) / 16_000)).astype(np.float32))


@pytest.mark.parametrize("sound_later_s", [-0.2, 0.0, 0.24])
def test_the_offset_between_lips_and_sound_is_found(syllables, speech_sound, sound_later_s):
    sync = lip_sync(track_of(0.1 * syllables(TIMES_S + sound_later_s)), speech_sound)
    best = sync.best
    assert best.offset_s == pytest.approx(sound_later_s, abs=0.045)
    assert best.correlation > 0.9
    assert [one.offset_s for one in sync.correlations] == [round(-0.4 + 0.04 * i, 2) for i in range(21)]
    assert all(one.correlation <= best.correlation for one in sync.correlations)


def test_lips_that_follow_another_rhythm_do_not_correlate(speech_sound):
    wander = np.cumsum(np.random.default_rng(1).normal(0, 0.2, len(TIMES_S)))
    other = 0.05 + 0.05 * np.sin(2 * np.pi * 1.9 * TIMES_S + wander)
    assert lip_sync(track_of(other), speech_sound).best.correlation < 0.5


def test_too_little_to_compare_is_none(syllables, speech_sound):
    short = TIMES_S < 1.5
    assert lip_sync(track_of(0.1 * syllables(TIMES_S[short]), times_s=TIMES_S[short]), speech_sound) is None
    assert lip_sync(track_of(np.full(len(TIMES_S), np.nan)), speech_sound) is None
    assert lip_sync(track_of(np.full(len(TIMES_S), 0.1)), speech_sound) is None
    assert lip_sync(track_of(0.1 * syllables(TIMES_S)), Audio(np.zeros(16_000, np.float32))) is None
