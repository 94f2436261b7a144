"""What is heard in the sample footage: a synthetic voice, and sounds that are none.

Belongs here: samples and the loudness that lips follow. Not here: lips (`render`), compression (`encode`).
The voice is the source-filter model of speech (Fant 1960) at its simplest: a glottal sawtooth with falling pitch through
three resonators that move from vowel to vowel, in syllables and phrases. It says nothing, yet Silero VAD takes it for speech.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]  # (n,), mono, within [-1, 1]

SAMPLE_RATE_HZ = 48_000

_VOWEL_FORMANTS_HZ = np.array(
    ((730, 1090, 2440), (530, 1840, 2480), (390, 1990, 2550), (570, 840, 2410), (440, 1020, 2240), (270, 2290, 3010))
)
"""First three formants of a, e, i(short), o, u, i (Peterson and Barney 1952, adult male means)."""
_BANDWIDTHS_HZ = np.array((90.0, 110.0, 170.0))
_BLOCK_S = 0.005
_SHORTEST_S = 0.3
_VOICE_PEAK, _BED_PEAK, _AMBIENT_PEAK = 0.5, 0.01, 0.15


@dataclass(frozen=True, eq=False)
class Speech:
    """A voice and how loud it is.

    Attributes:
        samples: the sound.
        loudness: (n,) 0 to 1, smooth over a syllable; 0 in pauses.
    """

    samples: Samples
    loudness: Samples


def speak(duration_s: float, pitch_hz: float, seed: int) -> Speech:
    """A voice of `pitch_hz` that speaks in phrases from the first tenth of a second to the last, over a faint noise.

    Raises:
        ValueError: less than 0.3 s, which holds no syllable.
    """
    if duration_s < _SHORTEST_S:
        raise ValueError(f"{duration_s} s hold no syllable: speak for {_SHORTEST_S} s or longer")
    rng = np.random.default_rng(seed)
    count = round(duration_s * SAMPLE_RATE_HZ)
    loudness, formants_hz, contour = _syllables(count, rng)
    jitter = np.interp(np.arange(count), np.arange(0, count, 960), rng.normal(0, 0.01, len(range(0, count, 960))))
    phase = np.cumsum(pitch_hz * contour * (1 + jitter)) / SAMPLE_RATE_HZ
    source = 1 - 2 * (phase % 1.0) + 0.05 * rng.standard_normal(count)
    voice = _resonate(source * loudness, formants_hz * (1.0 + 0.15 * (pitch_hz > 160)))
    samples = _VOICE_PEAK * voice / np.abs(voice).max() + _BED_PEAK * rng.standard_normal(count)
    return Speech(np.clip(samples, -1, 1).astype(np.float32), loudness.astype(np.float32))


def ambience(duration_s: float, seed: int) -> Samples:
    """A room without a voice: wind-like noise that swells, and a soft hum."""
    from scipy.signal import butter, sosfilt

    rng = np.random.default_rng(seed)
    count = round(duration_s * SAMPLE_RATE_HZ)
    time_s = np.arange(count) / SAMPLE_RATE_HZ
    wind = sosfilt(butter(2, 500, fs=SAMPLE_RATE_HZ, output="sos"), rng.standard_normal(count))
    swell = 0.7 + 0.3 * np.sin(2 * np.pi * 0.4 * time_s + rng.uniform(0, 2 * np.pi))
    hum = 0.05 * np.sin(2 * np.pi * 50 * time_s)
    samples = wind / np.abs(wind).max() * swell + hum
    return (_AMBIENT_PEAK * samples).astype(np.float32)


def _syllables(count: int, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Loudness (n,), formants in Hz (n, 3) and pitch contour (n,) of syllables in phrases with pauses between."""
    loudness = np.zeros(count)
    contour = np.ones(count)
    centres, vowels = [0], [_VOWEL_FORMANTS_HZ[0]]
    start = round(0.1 * SAMPLE_RATE_HZ)
    end_of_speech = count - round(0.1 * SAMPLE_RATE_HZ)
    while start < end_of_speech:
        for syllable in range(int(rng.integers(4, 8))):
            length = min(round(rng.uniform(0.17, 0.27) * SAMPLE_RATE_HZ), end_of_speech - start)
            if length < 0.08 * SAMPLE_RATE_HZ:
                break
            shape = np.sin(np.pi * (np.arange(length) + 0.5) / length) ** 0.8
            loudness[start : start + length] = rng.uniform(0.7, 1.0) * shape
            contour[start : start + length] = 1.12 - 0.04 * syllable
            centres.append(start + length // 2)
            vowels.append(_VOWEL_FORMANTS_HZ[rng.integers(len(_VOWEL_FORMANTS_HZ))])
            start += length
        start += round(rng.uniform(0.25, 0.4) * SAMPLE_RATE_HZ)
    at = np.arange(count)
    formants = np.stack([np.interp(at, centres, np.array(vowels)[:, k]) for k in range(3)], axis=-1)
    return loudness, formants, contour


def _resonate(source: NDArray[np.float64], formants_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """`source` (n,) through three resonators in series whose centres (n, 3) are held over blocks of 5 ms."""
    from scipy.signal import lfilter

    block = round(_BLOCK_S * SAMPLE_RATE_HZ)
    sound = source
    for k, bandwidth_hz in enumerate(_BANDWIDTHS_HZ):
        radius = np.exp(-np.pi * bandwidth_hz / SAMPLE_RATE_HZ)
        memory = np.zeros(2)
        filtered = np.empty_like(sound)
        for first in range(0, len(sound), block):
            angle = 2 * np.pi * formants_hz[first, k] / SAMPLE_RATE_HZ
            poles = (1.0, -2 * radius * np.cos(angle), radius**2)
            filtered[first : first + block], memory = lfilter((sum(poles),), poles, sound[first : first + block], zi=memory)
        sound = filtered
    return sound
