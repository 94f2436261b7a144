"""How much a mouth moves, from its openings over time.

Belongs here: openings -> one number, for real clips and drawn ones alike. Not here: measuring openings (the engines), what a
number means (`lafid_assets.speech.speaking_status`).
"""

import numpy as np
from numpy.typing import NDArray

_WINDOW_S = 1.0
"""Longer than a syllable, shorter than a turn of the head: what changes within it is articulation."""
_FEWEST_LOOKS = 6
_LEAST_SEEN_S = 0.4
"""A mouth seen for less than a syllable or two does not show how far it moves."""


def opening_range(
    times_s: NDArray[np.float64], openings: NDArray[np.float64], run: NDArray[np.int64] | None = None
) -> float | None:
    """How far the mouth opens and closes within a second: 90th minus 10th percentile, the median over all seconds.

    Windows never reach across two runs, so neither a cut nor a slow turn of the head counts as movement, and the median
    withstands a single yawn or a landmark that slips. None where no second has enough looks.

    Args:
        times_s: (N,), rising.
        openings: (N,) shares of the face's height; NaN where none was measured.
        run: (N,) of the stretch in which one face was followed; None: there is one.
    """
    runs = np.zeros(len(times_s), np.int64) if run is None else run
    ranges = [
        float(np.subtract(*np.percentile(part, [90, 10])))
        for number in np.unique(runs)
        for part in _windows(times_s[runs == number], openings[runs == number])
    ]
    return float(np.median(ranges)) if ranges else None


def _windows(times_s: NDArray[np.float64], openings: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Measured openings of each second of one run that has enough of them."""
    measured = np.isfinite(openings)
    index = ((times_s - times_s[0]) / _WINDOW_S).astype(int)
    parts = [(index == i) & measured for i in np.unique(index)]
    return [openings[part] for part in parts if part.sum() >= _FEWEST_LOOKS and np.ptp(times_s[part]) >= _LEAST_SEEN_S]
