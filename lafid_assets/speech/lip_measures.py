"""What the movement of a mouth says by itself: how much it moves.

Belongs here: numbers from a `MouthTrack` alone. Not here: making the track (`lips`), whether it moves with the sound
(`synchrony`), judging the numbers (`speaking_status`).
"""

import numpy as np
from numpy.typing import NDArray

from lafid_assets.speech.lips import MouthTrack

_WINDOW_S = 1.0
"""Longer than a syllable, shorter than a turn of the head: what changes within it is articulation."""
_FEWEST_LOOKS = 6
_LEAST_SEEN_S = 0.4
"""In less than a syllable or two a mouth does not show how far it moves."""


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


def _windows(times_s: NDArray[np.float64], openings: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Measured openings of each second of one run that has enough of them."""
    measured = np.isfinite(openings)
    index = ((times_s - times_s[0]) / _WINDOW_S).astype(int)
    parts = [(index == i) & measured for i in np.unique(index)]
    return [openings[part] for part in parts if part.sum() >= _FEWEST_LOOKS and np.ptp(times_s[part]) >= _LEAST_SEEN_S]
