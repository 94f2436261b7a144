"""Do two clips show the same shot? Their heads turn alike at one offset in time, and pictures and faces agree there.

Belongs here: two clips' tracks -> measures. Not here: which pairs are compared (`candidates`), thresholds (`policies`).

How a head turns is as good as a signature: encoding, scaling and cropping do not change it, and no second take repeats it. The
offset is the one at which the poses differ least; between two sampled frames they are taken to change evenly. A head that keeps
still is alike at every offset: how far the poses lie apart at the others stands beside the distance.

Frames of long clips lie seconds apart, and what a head does between them is not known. So the clip whose frames are denser is the
one that is asked, at the moments of the other; and of those the ones near a frame of its own.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lafid_assets.pictures.picture_hash import HASH_BITS, MIRROR

STEP_S = 0.05
OFFSETS_AT_A_TIME = 2000
LEAST_SHARED = 0.75
"""Share of the shorter clip that offsets are looked for in: less is no copy of it, and the less is compared, the more is alike by
chance."""
LEAST_KNOWN = 0.5
"""Share of the moments that could be compared, of which some are not known: no pose was measured, or no frame is near."""
NEAR_S = 0.3
"""Most seconds from a moment to the nearest posed frame, picture or face; farther away nothing is known of it."""
EXACT_S = 1e-3
LEAST_FRAMES, SURE_FRAMES = 3, 8
"""Moments that must be known at an offset: of clips with few posed frames, and of all others. Of many offsets, one at which a few
moments are alike is nothing, unless the pictures, which are hashed more densely than poses are measured, leave few offsets."""
MOST_PINNED = 0.1
"""Share of the offsets at which pictures may agree where few moments are enough."""
MOST_BITS_APART = 10
"""Of 63. Strangers' pictures of one moment lie 26 bits and more apart in nine of ten cases, copies seldom more than eight."""
PERCENTILE = 80
"""Percentile of the poses' distances that counts: a few frames may be misread."""

MIRROR_AXES = np.diag([-1.0, 1.0, 1.0])

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Track:
    """One clip's pictures and leading face over time, F sampled frames.

    Attributes:
        times_s: (F,), rising.
        rotations: (F, 3, 3), NaN where no pose was measured.
        embeddings: (F, D), NaN where there is none.
        hashes: (P,) int64, of the pictures at `picture_times_s`.
        crops: (M, C) int64, of their crops at `crop_times_s`.
    """

    times_s: Numbers
    rotations: Numbers
    embeddings: Numbers
    hashes: NDArray[np.int64]
    picture_times_s: Numbers
    crops: NDArray[np.int64]
    crop_times_s: Numbers

    @property
    def length_s(self) -> float:
        """Seconds from the first sampled frame to the last."""
        return float(self.times_s[-1] - self.times_s[0])

    @property
    def gap_s(self) -> float:
        """Mean time between two sampled frames."""
        return self.length_s / max(1, len(self.times_s) - 1)

    @property
    def posed(self) -> NDArray[np.bool_]:
        """Which frames have a pose."""
        return np.asarray(np.isfinite(self.rotations).all(axis=(1, 2)))

    def mirrored(self) -> "Track":
        """The clip as it looks in a mirror: the same head turns the other way."""
        turned = MIRROR_AXES @ self.rotations @ MIRROR_AXES
        return replace(self, rotations=turned, hashes=self.hashes ^ MIRROR, crops=self.crops ^ MIRROR)


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
    posed = int(shorter.posed.sum())
    if posed < LEAST_FRAMES or longer.posed.sum() < 2:
        return None
    slack = (1 - LEAST_SHARED) * shorter.length_s
    least, most = longer.times_s[0] - shorter.times_s[0] - slack, longer.times_s[-1] - shorter.times_s[-1] + slack
    offsets = np.arange(least, most + STEP_S, STEP_S)
    offsets = np.unique(np.append(offsets, 0.0))  # a copy that was not cut begins where its original does
    blocks = [offsets[start : start + OFFSETS_AT_A_TIME] for start in range(0, len(offsets), OFFSETS_AT_A_TIME)]
    distances, counts = (np.concatenate(part) for part in zip(*(_apart(longer, shorter, block) for block in blocks), strict=True))
    enough = counts >= max(LEAST_FRAMES, LEAST_KNOWN * counts.max(), min(SURE_FRAMES, LEAST_KNOWN * posed))
    among = enough
    if not enough.any():
        enough = counts >= LEAST_FRAMES
        among = enough & _pinned(longer, shorter, offsets)
        if not among.any():
            return None
    best = int(np.argmin(np.where(among, distances, np.inf)))
    return float(offsets[best]), float(distances[best]), float(np.median(distances[enough]))


def _pinned(longer: Track, shorter: Track, offsets: Numbers) -> NDArray[np.bool_]:
    """At which offsets the pictures agree; nowhere, where they agree nearly everywhere: a camera that stands still shows the same
    picture at all times, and says nothing of the offset."""
    agree = _pictures_agree(longer, shorter, offsets) | _pictures_agree(shorter, longer, -offsets)
    return agree if agree.mean() <= MOST_PINNED else np.zeros_like(agree)


def _pictures_agree(whole: Track, cropped: Track, offsets: Numbers) -> NDArray[np.bool_]:
    """Whether `whole` shows most of the moments of `cropped` whose crops are known, at every offset of the latter."""
    seen = np.zeros(len(offsets), np.int64)
    for time_s, crops in zip(cropped.crop_times_s, cropped.crops, strict=True):
        alike = np.bitwise_count(whole.hashes[:, None] ^ crops).min(axis=1, initial=HASH_BITS) <= MOST_BITS_APART
        at_s = np.append(whole.picture_times_s[alike] - time_s, np.inf)
        place = np.searchsorted(at_s, offsets - NEAR_S)
        seen += at_s[place] <= offsets + NEAR_S
    return (seen > 0) & (2 * seen >= len(cropped.crops))


def _apart(longer: Track, shorter: Track, offsets: Numbers) -> tuple[Numbers, NDArray[np.int64]]:
    """How far the poses lie apart at every offset, NaN where no moment is known, and at how many moments they are compared."""
    asked, moments, sign = (longer, shorter, 1) if longer.gap_s <= shorter.gap_s else (shorter, longer, -1)
    wanted_s = moments.times_s[moments.posed] + sign * offsets[:, None]
    between, known = _interpolated(asked.times_s[asked.posed], asked.rotations[asked.posed], wanted_s)
    chord = np.linalg.norm((between - moments.rotations[moments.posed]).reshape(*known.shape, 9), axis=2)
    apart = np.where(known, np.rad2deg(2 * np.arcsin(np.clip(chord / np.sqrt(8), 0, 1))), np.nan)
    return _percentile(apart, known.sum(axis=1)), known.sum(axis=1)


def _percentile(values: Numbers, counts: NDArray[np.int64]) -> Numbers:
    """`PERCENTILE` of every row's numbers, of which there are so many, between the NaN: as `np.nanpercentile`, which goes through
    the rows one by one and would take most of the time of a comparison."""
    place = PERCENTILE / 100 * np.maximum(counts - 1, 0)
    below = place.astype(int)
    above = np.minimum(below + 1, np.maximum(counts - 1, 0))
    ranked, row = np.sort(values, axis=1), np.arange(len(values))
    return np.asarray(ranked[row, below] + (place - below) * (ranked[row, above] - ranked[row, below]), np.float64)


def _interpolated(times_s: Numbers, rotations: Numbers, wanted_s: Numbers) -> tuple[Numbers, NDArray[np.bool_]]:
    """Rotations at the wanted times, and which of these lie near one that is given."""
    right = np.clip(np.searchsorted(times_s, wanted_s), 1, len(times_s) - 1)
    before, behind = times_s[right - 1], times_s[right]
    within = (wanted_s >= before - EXACT_S) & (wanted_s <= behind + EXACT_S)
    known = within & (np.minimum(np.abs(wanted_s - before), np.abs(wanted_s - behind)) <= NEAR_S)
    weight = np.clip((wanted_s - before) / (behind - before), 0, 1)[..., None, None]
    return (1 - weight) * rotations[right - 1] + weight * rotations[right], known


def _picture_distance(whole: Track, cropped: Track, offset: float) -> float:
    """Median over the moments of `cropped` at which its crops are known; infinite where `whole` shows none of them."""
    apart = []
    for time_s, crops in zip(cropped.crop_times_s + offset, cropped.crops, strict=True):
        near = np.abs(whole.picture_times_s - time_s) <= NEAR_S
        if near.any():
            apart.append(int(np.bitwise_count(whole.hashes[near][:, None] ^ crops).min()))
    return float(np.median(apart)) if apart else np.inf


def _face_similarity(longer: Track, shorter: Track, offset: float) -> float:
    """Median cosine of the faces of nearest moments; NaN where there are none."""
    place = np.abs(longer.times_s[:, None] - (shorter.times_s + offset)).argmin(axis=0)
    near = np.abs(longer.times_s[place] - shorter.times_s - offset) <= NEAR_S
    cosine = np.einsum("fd,fd->f", longer.embeddings[place][near], shorter.embeddings[near])
    cosine = cosine[np.isfinite(cosine)]
    return float(np.median(cosine)) if len(cosine) else np.nan
