"""How sure a mean over videos is: intervals by bootstrap over persons.

Belongs here: values of videos and whose they are -> an interval; the paired difference of two models. Not here: what is measured,
and what follows from an interval (gates).

Videos of one person resemble each other. Therefore the bootstrap draws persons, not videos: each draw takes as many persons as
there are, with repetition, and the mean over all of their videos (cluster bootstrap, percentiles). With few persons such an
interval is too narrow: see `ENOUGH_PERSONS`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

ENOUGH_PERSONS: Final = 6
"""With fewer, chance alone makes all persons agree in the sign of a difference in more than 5 % of cases (2 / 2^n): an interval
that leaves out 0 then proves nothing."""
TOO_FEW: Final = "too few persons for an interval: 2 are the least"


@dataclass(frozen=True)
class Interval:
    """A mean over videos, and where it may lie."""

    value: float | None
    """The mean over all videos; None where there is none."""
    low: float | None
    high: float | None
    """None, both, with fewer than two persons."""
    persons: int
    videos: int
    reason: str | None = None
    """Why value or bounds are missing."""


def bootstrap_interval(
    values: Sequence[float], persons: Sequence[str], *, seed: int = 0, draws: int = 2000, level: float = 0.95
) -> Interval:
    """The mean of one value a video, and its interval. The order of the videos changes nothing.

    Args:
        values: finite; a video without a value is left out and counted by the caller.
        persons: whom each of the videos shows.
        level: share of the draws inside the interval.

    Raises:
        ValueError: a value is not finite, or the two differ in length.
    """
    numbers = np.asarray(values, np.float64)
    if len(numbers) != len(persons):
        raise ValueError(f"{len(numbers)} values of {len(persons)} persons: each value is of one person")
    if not np.isfinite(numbers).all():
        first = int(np.argmin(np.isfinite(numbers)))
        raise ValueError(f"value {first} is {numbers[first]}, not a finite number")
    if not len(numbers):
        return Interval(None, None, None, 0, 0, "no video has a value")
    sums, counts = _by_person(numbers, persons)
    value = float(sums.sum() / counts.sum())
    if len(sums) < 2:
        return Interval(value, None, None, len(sums), len(numbers), TOO_FEW)
    drawn = np.random.default_rng(seed).integers(len(sums), size=(draws, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return Interval(value, low, high, len(sums), len(numbers))


def paired_interval(ours: Sequence[float], theirs: Sequence[float], persons: Sequence[str]) -> Interval:
    """The interval of the difference ours - theirs, video by video: what both find hard drops out.

    Args:
        ours: a value a video.
        theirs: of the same cases and seeds, in the same order. What one of the two lacks is the caller's to count.

    Raises:
        ValueError: a value is not finite, or the three differ in length.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} of ours and {len(theirs)} of theirs: a pair is one case and seed drawn by both")
    differences = (np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)).tolist()
    return bootstrap_interval(differences, persons)


def _by_person(values: NDArray[np.float64], persons: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Sum and number of each person's values, by name; summed in order of size, so that the videos' order leaves no trace."""
    order = np.argsort(values, kind="stable")
    names, index = np.unique(np.asarray(persons)[order], return_inverse=True)
    sums = np.bincount(index, weights=values[order], minlength=len(names)).astype(np.float64)
    return sums, np.bincount(index, minlength=len(names))
