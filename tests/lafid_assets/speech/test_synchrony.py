"""Lips that follow a sound are told from lips that do not, against what chance reaches."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import butter, sosfilt

from lafid_assets.speech.audio import Audio
from lafid_assets.speech.lips import MouthTrack
from lafid_assets.speech.synchrony import OFFSETS_S, OffsetCorrelation, Synchrony, envelope_of, lip_sync

FPS, RATE_HZ, SECONDS = 25, 16_000, 8
TIMES_S = np.arange(SECONDS * FPS) / FPS


def track_of(openings, times_s=TIMES_S) -> MouthTrack:
    return MouthTrack(
        times_s, np.asarray(openings, float), 0 * times_s, np.zeros(len(times_s), np.int64), times_s[:1], np.ones(1, np.int64)
    )


@pytest.fixture
def sound(syllables):
    """Noise of one band, loud where `syllables` of that seed open."""

    def _sound(band_hz: tuple[float, float], seed: int, noise_seed: int = 0) -> np.ndarray:
        noise = np.random.default_rng(noise_seed).standard_normal(SECONDS * RATE_HZ)
        loudness = 0.05 + syllables(np.arange(SECONDS * RATE_HZ) / RATE_HZ, seed)
        return 0.1 * sosfilt(butter(4, band_hz, "bandpass", fs=RATE_HZ, output="sos"), noise) * loudness

    return _sound


def envelope(*parts: np.ndarray):
    return envelope_of(Audio(sum(parts).astype(np.float32)))


FORMANTS, VOWELS = (1600.0, 3600.0), (200.0, 900.0)


@pytest.mark.parametrize("sound_later_s", [-0.08, 0.0, 0.24])
def test_the_offset_between_lips_and_sound_is_found(syllables, sound, sound_later_s):
    sync = lip_sync(track_of(0.1 * syllables(TIMES_S + sound_later_s, 1)), envelope(sound(FORMANTS, 1)))
    assert sync.best.offset_s == pytest.approx(sound_later_s, abs=0.041)
    assert sync.best.correlation > 0.8
    assert sync.z > 5
    assert tuple(one.offset_s for one in sync.correlations) == OFFSETS_S
    assert all(one.correlation <= sync.best.correlation for one in sync.correlations)
    assert len(sync.chance) == SECONDS - 1
    assert sync.observed_s == pytest.approx(SECONDS - 1 / FPS)


def test_lips_under_other_voices_stay_within_chance(syllables, sound):
    """Sixteen voices that are not theirs: few pass for it, and on the whole they lie where chance does."""
    lips = track_of(0.1 * syllables(TIMES_S, 1))
    z = [lip_sync(lips, envelope(sound(FORMANTS, seed))).z for seed in range(2, 18)]
    assert np.mean(np.greater(z, 1.5)) <= 0.25
    assert abs(np.median(z)) < 1


def test_the_band_of_the_second_and_third_formant_decides(syllables, sound):
    """Lips follow what lies in the band, and are not led astray by a louder voice below it."""
    both = envelope(sound(FORMANTS, 1), 5 * sound(VOWELS, 2, 1))
    assert lip_sync(track_of(0.1 * syllables(TIMES_S, 1)), both).z > 3
    assert lip_sync(track_of(0.1 * syllables(TIMES_S, 2)), both).z < 2


def test_amplitude_does_not_matter(syllables, sound):
    """Lips of which a model sees a tenth of the movement follow the voice as well."""
    sounding = envelope(sound(FORMANTS, 1))
    wide, narrow = (lip_sync(track_of(extent * syllables(TIMES_S, 1)), sounding) for extent in (0.1, 0.01))
    assert wide.z == pytest.approx(narrow.z)


def test_z_is_in_spreads_of_chance():
    sync = Synchrony((OffsetCorrelation(0.0, 0.5),), (0.0, 0.1, 0.2, 0.1), 4.0)
    assert sync.z == pytest.approx((0.5 - 0.1) / np.sqrt((0.02 + 4 * 0.01) / 7))
    assert replace(sync, chance=(0.1, 0.1)).z < 10, "two shifts that happen to agree are no certainty"
    assert replace(sync, chance=(0.1,)).z is None


def test_a_short_sound_is_shifted_as_far_as_it_reaches(syllables, sound):
    short = TIMES_S < 3.2
    lips = track_of(0.1 * syllables(TIMES_S[short], 1), TIMES_S[short])
    heard = sound(FORMANTS, 1)
    assert len(lip_sync(lips, envelope(heard[: round(3.2 * RATE_HZ)])).chance) == 2
    assert lip_sync(lips, envelope(heard[: round(2.5 * RATE_HZ)])).z is None
    assert len(lip_sync(lips, envelope(np.tile(heard, 4))).chance) == 16


def test_unmeasured_looks_are_left_out(syllables, sound):
    openings = 0.1 * syllables(TIMES_S, 1)
    openings[::4] = np.nan
    assert lip_sync(track_of(openings), envelope(sound(FORMANTS, 1))).z > 5


def test_too_little_to_compare_is_none(syllables, sound):
    sounding, openings = envelope(sound(FORMANTS, 1)), 0.1 * syllables(TIMES_S, 1)
    short = TIMES_S < 1.5
    assert lip_sync(track_of(openings[short], TIMES_S[short]), sounding) is None
    assert lip_sync(track_of(np.full(len(TIMES_S), np.nan)), sounding) is None
    assert lip_sync(track_of(np.full(len(TIMES_S), 0.1)), sounding) is None
    assert lip_sync(track_of(openings), envelope_of(Audio(np.zeros(RATE_HZ, np.float32)))) is None
    assert lip_sync(track_of(openings), envelope_of(Audio(np.empty(0, np.float32)))) is None
