"""Do two clips show the same shot? Their heads turn alike at one offset in time, and pictures and faces agree there.

Belongs here: two clips' tracks -> measures. Not here: which pairs are compared (`candidates`), thresholds (`policies`).

How a head turns is as good as a signature: encoding, scaling and cropping do not change it, and no second take repeats it. The
offset is the one at which the poses differ least; between two sampled frames they are taken to change evenly. A head that keeps
still is alike at every offset: how far the poses lie apart at the others stands beside the distance.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STEP_S = 0.05
MOST_OFFSETS = 2000
LEAST_SHARED = 0.5
"""Share of the shorter clip that offsets are looked for in: less is no copy of it."""
MOST_GAP_S = 0.6
"""Between two posed frames; what lies between frames farther apart is not known."""
LEAST_FRAMES = 3
PERCENTILE = 80
"""Of the poses' distances: a few frames may be misread."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Track:
    """One clip's pictures and leading face over time, F sampled frames.

    Attributes:
        times_s: (F,), rising.
        rotations: (F, 3, 3), NaN where no pose was measured.
        embeddings: (F, D), NaN where there is none.
        hashes: (F,) int64, and which of them are `known`.
        crops: (M, C) int64, hashes of crops at `crop_times_s`.
    """

    times_s: Numbers
    rotations: Numbers
    embeddings: Numbers
    hashes: NDArray[np.int64]
    known: NDArray[np.bool_]
    crops: NDArray[np.int64]
    crop_times_s: Numbers

    @property
    def length_s(self) -> float:
        """From the first sampled frame to the last."""
        return float(self.times_s[-1] - self.times_s[0])


@dataclass(frozen=True)
class Likeness:
    """How two clips agree where they agree best.

    Attributes:
        offset_s: where the second clip begins in the first, s; negative where it begins before.
        shared_share: shared time / length of the shorter one.
        pose_distance_deg: of the poses at the same moments, `PERCENTILE`.
        pose_chance_deg: the same at other offsets, median.
        picture_distance: median of the bits by which the pictures differ, the nearest crop of either side.
        face_similarity: median cosine of the faces.
    """

    offset_s: float
    shared_share: float
    pose_distance_deg: float
    pose_chance_deg: float
    picture_distance: float
    face_similarity: float


def compare(first: Track, second: Track) -> Likeness | None:
    """The likeness of two clips; None where too few moments of both can be compared."""
    swapped = second.length_s > first.length_s
    longer, shorter = (second, first) if swapped else (first, second)
    found = _best_offset(longer, shorter)
    if found is None:
        return None
    offset, pose_distance, pose_chance = found
    picture_distance = min(_picture_distance(longer, shorter, offset), _picture_distance(shorter, longer, -offset))
    similarity = _face_similarity(longer, shorter, offset)
    if not np.isfinite(picture_distance) or not np.isfinite(similarity):
        return None
    begins, ends = max(longer.times_s[0], shorter.times_s[0] + offset), min(longer.times_s[-1], shorter.times_s[-1] + offset)
    share = (ends - begins) / shorter.length_s if shorter.length_s else 1.0
    begins_s, shared = -offset if swapped else offset, float(np.clip(share, 0, 1))
    return Likeness(begins_s, shared, pose_distance, pose_chance, picture_distance, similarity)


def _best_offset(longer: Track, shorter: Track) -> tuple[float, float, float] | None:
    """Seconds that the shorter clip begins behind the longer one, how far the poses then lie apart, and how far by chance."""
    posed = np.isfinite(shorter.rotations).all(axis=(1, 2))
    there = np.isfinite(longer.rotations).all(axis=(1, 2))
    if posed.sum() < LEAST_FRAMES or there.sum() < 2:
        return None
    slack = (1 - LEAST_SHARED) * shorter.length_s
    least, most = longer.times_s[0] - shorter.times_s[0] - slack, longer.times_s[-1] - shorter.times_s[-1] + slack
    count = int(min(MOST_OFFSETS, np.ceil((most - least) / STEP_S) + 1))
    offsets = np.unique(np.append(np.linspace(least, most, count), 0.0))  # a copy that was not cut begins where its original does
    between, known = _interpolated(longer.times_s[there], longer.rotations[there], shorter.times_s[posed] + offsets[:, None])
    chord = np.linalg.norm((between - shorter.rotations[posed]).reshape(*known.shape, 9), axis=2)
    apart = np.where(known, np.rad2deg(2 * np.arcsin(np.clip(chord / np.sqrt(8), 0, 1))), np.nan)
    enough = known.sum(axis=1) >= max(LEAST_FRAMES, LEAST_SHARED * posed.sum())
    if not enough.any():
        return None
    distance = np.nanpercentile(apart[enough], PERCENTILE, axis=1)
    best = int(np.argmin(distance))
    return float(offsets[enough][best]), float(distance[best]), float(np.median(distance))


def _interpolated(times_s: Numbers, rotations: Numbers, wanted_s: Numbers) -> tuple[Numbers, NDArray[np.bool_]]:
    """Rotations at the wanted times, and where these lie between two that are near each other."""
    right = np.clip(np.searchsorted(times_s, wanted_s), 1, len(times_s) - 1)
    gap = times_s[right] - times_s[right - 1]
    share = (wanted_s - times_s[right - 1]) / gap
    near_one = (np.abs(share) * gap <= 1e-3) | (np.abs(share - 1) * gap <= 1e-3)
    known = ((share >= 0) & (share <= 1) & (gap <= MOST_GAP_S)) | near_one
    weight = np.clip(share, 0, 1)[..., None, None]
    return (1 - weight) * rotations[right - 1] + weight * rotations[right], known


def _picture_distance(whole: Track, cropped: Track, offset: float) -> float:
    """Median over the moments of `cropped` at which its crops are known; infinite where `whole` shows none of them."""
    apart = []
    for time_s, crops in zip(cropped.crop_times_s + offset, cropped.crops, strict=True):
        near = whole.known & (np.abs(whole.times_s - time_s) <= MOST_GAP_S / 2)
        if near.any():
            apart.append(int(np.bitwise_count(whole.hashes[near][:, None] ^ crops).min()))
    return float(np.median(apart)) if apart else np.inf


def _face_similarity(longer: Track, shorter: Track, offset: float) -> float:
    """Median cosine of the faces of nearest moments; NaN where there are none."""
    place = np.abs(longer.times_s[:, None] - (shorter.times_s + offset)).argmin(axis=0)
    near = np.abs(longer.times_s[place] - shorter.times_s - offset) <= MOST_GAP_S / 2
    cosine = np.einsum("fd,fd->f", longer.embeddings[place][near], shorter.embeddings[near])
    cosine = cosine[np.isfinite(cosine)]
    return float(np.median(cosine)) if len(cosine) else np.nan
