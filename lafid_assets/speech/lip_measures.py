"""What the movement of a mouth says: how much it moves, and whether it moves with the sound.

Belongs here: numbers from a `MouthTrack` and the sound. Not here: making the track (`lips`), judging the numbers
(`speaking_status`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lafid_assets.speech.audio import Audio
from lafid_assets.speech.lips import MouthTrack

_WINDOW_S = 1.0
"""Longer than a syllable, shorter than a turn of the head: what changes within it is articulation."""
_FEWEST_LOOKS = 6
_ENVELOPE_S = 0.08
"""Smoothing of the sound's envelope: a fast syllable lasts about 0.15 s."""
_LARGEST_OFFSET_S = 0.4
_OFFSET_STEP_S = 0.04
_SHORTEST_PAIRED_S = 2.0
"""Over less, unrelated signals correlate by chance."""

_LEAST_DEVIATION = 1e-5
"""Below it a signal is constant but for rounding."""


@dataclass(frozen=True)
class OffsetCorrelation:
    """Pearson correlation of opening and envelope at one offset (> 0: the sound comes later)."""

    offset_s: float
    correlation: float


@dataclass(frozen=True)
class LipSync:
    """Correlations of opening and envelope at all offsets, in rising order of offset; at least one."""

    correlations: tuple[OffsetCorrelation, ...]

    @property
    def best(self) -> OffsetCorrelation:
        """The highest; the earliest of equal ones."""
        return max(self.correlations, key=lambda one: one.correlation)


def mouth_range(track: MouthTrack) -> float | None:
    """How far the mouth opens and closes within a second: 90th minus 10th percentile, the median over all seconds.

    Windows never reach across two runs, so neither a cut nor a slow turn of the head counts as movement, and the median
    withstands a single yawn or a landmark that slips. None where no second has enough looks.
    """
    ranges = [
        float(np.subtract(*np.percentile(openings, [90, 10])))
        for run in np.unique(track.run)
        for openings in _windows(track.times_s[track.run == run], track.openings[track.run == run])
    ]
    return float(np.median(ranges)) if ranges else None


def lip_sync(track: MouthTrack, audio: Audio) -> LipSync | None:
    """How well the opening follows the sound's envelope, at several offsets. None where too little can be compared.

    Mouth opening and envelope of speech correlate at 2 to 7 Hz, the lips leading by 0.1 to 0.3 s (Chandrasekaran et al.
    2009, The natural statistics of audiovisual speech, PLoS Comput Biol 5:7). Both signals lose their mean over a second
    first, so that head turns and fades do not count.
    """
    known = np.isfinite(track.openings)
    if not known.any():
        return None
    times_s = track.times_s[known]
    opening = _without_drift(times_s, track.openings[known], track.run[known])
    if _observed_s(times_s, track.run[known]) < _SHORTEST_PAIRED_S or opening.std() < _LEAST_DEVIATION:
        return None
    envelope_times_s, envelope = _envelope(audio)
    correlations = []
    for offset_s in np.arange(-_LARGEST_OFFSET_S, _LARGEST_OFFSET_S + 1e-9, _OFFSET_STEP_S):
        heard = np.interp(times_s + offset_s, envelope_times_s, envelope)
        heard = _without_drift(times_s, heard, track.run[known])
        if heard.std() < _LEAST_DEVIATION:
            continue
        correlations.append(OffsetCorrelation(round(float(offset_s), 3), float(np.corrcoef(opening, heard)[0, 1])))
    return LipSync(tuple(correlations)) if correlations else None


def _windows(times_s: NDArray[np.float64], openings: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Measured openings of each second of one run that has enough of them."""
    index = ((times_s - times_s[0]) / _WINDOW_S).astype(int)
    measured = np.isfinite(openings)
    parts = [openings[(index == i) & measured] for i in np.unique(index)]
    return [part for part in parts if len(part) >= _FEWEST_LOOKS]


def _without_drift(times_s: NDArray[np.float64], values: NDArray[np.float64], run: NDArray[np.int64]) -> NDArray[np.float64]:
    """Each value less the mean of its run over the second around it."""
    near = (np.abs(times_s[:, None] - times_s) <= _WINDOW_S / 2) & (run[:, None] == run)
    return values - (near @ values) / near.sum(axis=1)


def _observed_s(times_s: NDArray[np.float64], run: NDArray[np.int64]) -> float:
    return float(sum(np.ptp(times_s[run == one]) for one in np.unique(run)))


def _envelope(audio: Audio) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times and root mean square amplitude, every 10 ms."""
    step = audio.sample_rate_hz // 100
    count = len(audio.samples) // step
    power = (audio.samples[: count * step].astype(np.float64).reshape(count, step) ** 2).mean(axis=1)
    width = round(_ENVELOPE_S * 100)
    return (np.arange(count) + 0.5) / 100, np.sqrt(np.convolve(power, np.ones(width) / width, mode="same"))
