"""How alike two faces of one person look when their poses differ.

Belongs here: the curve of expected similarity over the pose gap, its calibration, residuals. Not here: what follows from a
residual (`consistency`), the shipped figures (`policies`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lafid_assets.identity.policies import GAP_EDGES_DEG, PoseGapFigures
from model.face_engine.rotations import geodesic_deg

Array = NDArray[np.float64]

MOST_PAIRS_OF_A_TRACK = 300
"""So that one long clip does not outvote the others."""
LOWER_PERCENTILE = 15.865
"""One standard deviation below the median of a normal distribution; the lower side is the one that judges."""
_CENTRES_DEG = (np.asarray(GAP_EDGES_DEG[:-1]) + np.asarray(GAP_EDGES_DEG[1:])) / 2
_CENTRES_DEG[-1] = 90.0


@dataclass(frozen=True, eq=False)
class PoseGapCurve:
    """Expected cosine and its spread, one figure a bin of `GAP_EDGES_DEG`, and what they were made from.

    Attributes:
        expected, spread: (B,), measured and shipped figures pooled; `expected` never rises with the gap.
        measured, measured_spread: (B,), of the pairs at hand alone; NaN where there are none.
        pairs: (B,), how many there were.
        strangers: cosine below which no pose excuses a face.
    """

    expected: Array
    spread: Array
    measured: Array
    measured_spread: Array
    pairs: NDArray[np.int64]
    strangers: float

    def residual(self, similarity: Array, gap_deg: Array) -> Array:
        """How many spreads each cosine lies above (> 0) or below what its gap lets expect; an unknown gap (NaN) is wide."""
        gap = np.nan_to_num(gap_deg, nan=GAP_EDGES_DEG[-1])
        expected, spread = np.interp(gap, _CENTRES_DEG, self.expected), np.interp(gap, _CENTRES_DEG, self.spread)
        return np.asarray((similarity - expected) / spread)

    def is_alike(self, similarity: Array, gap_deg: Array, most_spreads_below: float) -> NDArray[np.bool_]:
        """Whether two faces can be one person."""
        return (self.residual(similarity, gap_deg) >= -most_spreads_below) & (similarity >= self.strangers)

    def asked(self, gap_deg: Array, most_spreads_below: float) -> Array:
        """The cosine from which on `is_alike` says yes."""
        gap = np.nan_to_num(gap_deg, nan=GAP_EDGES_DEG[-1])
        expected, spread = np.interp(gap, _CENTRES_DEG, self.expected), np.interp(gap, _CENTRES_DEG, self.spread)
        return np.maximum(expected - most_spreads_below * spread, self.strangers)

    @classmethod
    def from_rows(cls, rows: pl.DataFrame) -> "PoseGapCurve":
        """The curve that `rows` made these rows of `similarity_by_pose_gap` of, of one shard and engine."""
        ordered = rows.sort("gap_from_deg")
        figures = {name: ordered[name].to_numpy() for name in ("expected", "spread", "measured", "measured_spread", "pairs")}
        return cls(**figures, strangers=float(ordered["strangers"][0]))

    def rows(self) -> list[dict[str, Any]]:
        """The columns of `similarity_by_pose_gap` that the curve knows."""
        return [
            {
                "gap_from_deg": GAP_EDGES_DEG[index],
                "gap_to_deg": GAP_EDGES_DEG[index + 1],
                "pairs": int(self.pairs[index]),
                "measured": float(self.measured[index]) if self.pairs[index] else None,
                "measured_spread": float(self.measured_spread[index]) if self.pairs[index] else None,
                "expected": float(self.expected[index]),
                "spread": float(self.spread[index]),
                "strangers": self.strangers,
            }
            for index in range(len(self.expected))
        ]


def calibrate(tracks: Iterable[tuple[Array, Array]], figures: PoseGapFigures, shipped_weight: int) -> PoseGapCurve:
    """The curve of these tracks: binned medians, pooled with the shipped figures and made to fall (isotonic regression).

    Pairs as unlike as strangers are left out, and medians and lower percentiles stand a minority of others, so that tracks in
    which the person changes do not widen the curve. The shipped figure of a bin counts as `shipped_weight` pairs, so that few
    pairs move it little and many replace it.

    Args:
        tracks: embeddings (F, D) of unit length and rotations (F, 3, 3) of the same face through a clip; NaN where unknown.
    """
    from scipy.optimize import isotonic_regression

    gaps, cosines = [np.empty(0)], [np.empty(0)]
    for embeddings, rotations in tracks:
        gap, cosine = _pairs(embeddings, rotations)
        gaps.append(gap)
        cosines.append(cosine)
    gap_deg, similarity = np.concatenate(gaps), np.concatenate(cosines)
    gap_deg, similarity = gap_deg[similarity >= figures.strangers], similarity[similarity >= figures.strangers]
    bins = np.clip(np.digitize(gap_deg, GAP_EDGES_DEG) - 1, 0, len(GAP_EDGES_DEG) - 2)
    count = len(GAP_EDGES_DEG) - 1
    pairs = np.bincount(bins, minlength=count)
    median, lower = np.full(count, np.nan), np.full(count, np.nan)
    for index in np.flatnonzero(pairs):
        median[index], lower[index] = np.percentile(similarity[bins == index], [50, LOWER_PERCENTILE])
    own = pairs / (pairs + shipped_weight)
    expected = own * np.nan_to_num(median) + (1 - own) * np.asarray(figures.expected)
    spread = own * np.nan_to_num(median - lower) + (1 - own) * np.asarray(figures.spread)
    falling = isotonic_regression(expected, weights=pairs + shipped_weight, increasing=False).x
    return PoseGapCurve(falling, spread, median, median - lower, pairs, figures.strangers)


def gaps_deg(rotations: Array, other: Array) -> Array:
    """(F,) angles between (F, 3, 3) rotations and one; NaN where one of the two is unknown."""
    known = np.isfinite(rotations).all(axis=(1, 2)) & bool(np.isfinite(other).all())
    gap = np.full(len(rotations), np.nan)
    gap[known] = geodesic_deg(rotations[known], other)
    return gap


def _pairs(embeddings: Array, rotations: Array) -> tuple[Array, Array]:
    """Pose gap and cosine of the pairs of a track, evenly thinned to the most that count."""
    known = np.isfinite(rotations).all(axis=(1, 2))
    embeddings, rotations = embeddings[known], rotations[known]
    first, second = np.triu_indices(len(embeddings), 1)
    if len(first) > MOST_PAIRS_OF_A_TRACK:
        chosen = np.linspace(0, len(first) - 1, MOST_PAIRS_OF_A_TRACK).astype(np.intp)
        first, second = first[chosen], second[chosen]
    return geodesic_deg(rotations[first], rotations[second]), np.einsum("pd,pd->p", embeddings[first], embeddings[second])
