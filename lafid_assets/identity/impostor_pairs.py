"""How alike strangers are, and from which cosine on two clips count as one person.

Belongs here: the distribution of cosines between persons, and the threshold that follows from it.
Not here: the figures of an engine (`policies`).
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from lafid_assets.identity.policies import ClusterFigures

SAMPLED_PAIRS = 100_000
FEWEST_CLIPS = 200
"""Below this many clips too large a share of the pairs can be one person, and the shipped figures stand."""


@dataclass(frozen=True)
class Threshold:
    """The cosine that two groups of clips must reach, and where it comes from.

    Attributes:
        origin: `clips` where the cosines of strangers were measured on the clips at hand, else `shipped`.
    """

    cosine: float
    strangers_mean: float
    strangers_spread: float
    origin: str


def choose_threshold(vectors: NDArray[np.float32], figures: ClusterFigures, false_links_per_clip: float) -> Threshold:
    """The cosine that a stranger reaches so rarely that a clip meets `false_links_per_clip` of them among all others.

    Two clips drawn at random nearly always show strangers. Their cosines are taken as normal, with the median as mean and the
    distance from the median down to the 15.87th percentile as spread: the lower half holds no pairs of one person. With N clips
    each meets N - 1 others, so the tail above the threshold may be `false_links_per_clip / (N - 1)`; the threshold rises with N,
    within the engine's floor and ceiling. This rule is ours.

    Args:
        vectors: (N, D), unit length.
    """
    mean, spread, origin = figures.strangers_mean, figures.strangers_spread, "shipped"
    if len(vectors) >= FEWEST_CLIPS:
        cosine = _sampled_cosines(vectors)
        mean = float(np.median(cosine))
        spread = mean - float(np.percentile(cosine, 100 * NormalDist().cdf(-1)))
        origin = "clips"
    tail = min(false_links_per_clip / max(len(vectors) - 1, 1), 0.5)
    reached = mean + spread * NormalDist().inv_cdf(1 - tail)
    return Threshold(min(max(reached, figures.threshold_floor), figures.threshold_ceiling), mean, spread, origin)


def _sampled_cosines(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosines of pairs of different clips, drawn with a fixed seed."""
    random = np.random.default_rng(0)
    first = random.integers(0, len(vectors), SAMPLED_PAIRS)
    second = (first + random.integers(1, len(vectors), SAMPLED_PAIRS)) % len(vectors)
    step = 20_000
    return np.concatenate(
        [
            np.einsum("nd,nd->n", vectors[first[start : start + step]], vectors[second[start : start + step]])
            for start in range(0, SAMPLED_PAIRS, step)
        ]
    )
