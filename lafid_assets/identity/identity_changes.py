"""What it was when the leading face stops looking like the clip's person.

Belongs here: telling a hidden face, a cut and a second person apart. Not here: whether the clip is kept (`consistency`).
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from lafid_assets.identity.pose_gap import Array, PoseGapCurve, gaps_deg

Flags = NDArray[np.bool_]

BLURRED_SHARE = 0.5
"""A face with less than this share of the person's usual sharpness is poorly seen."""
SAME_PLACE_OVERLAP = 0.6
POSE_JUMP_DEG = 20.0
LUMINANCE_JUMP = 8.0
SIGNS_OF_A_CUT = 2
"""Signs that must come together, of three: the box moves, the pose jumps, the picture's luminance jumps. All figures are ours."""


class IdentityBreak(StrEnum):
    """Why frames do not look like the clip's person."""

    NONE = "none"
    HIDDEN_FACE = "hidden_face"
    HARD_CUT = "hard_cut"
    SECOND_PERSON = "second_person"
    UNCLEAR = "unclear"


@dataclass(frozen=True, eq=False)
class Sequence:
    """The leading face of one clip, F embedded frames in order.

    Attributes:
        frame_index: (F,).
        embeddings: (F, D), unit length.
        rotations: (F, 3, 3), NaN where unknown.
        boxes: (F, 4), x1, y1, x2, y2 in pixels.
        score, sharpness, luminance: (F,), NaN where unknown.
        gap_before: (F,), whether a sampled frame without the face lies between this frame and the one before.
    """

    frame_index: NDArray[np.int64]
    embeddings: Array
    rotations: Array
    boxes: Array
    score: Array
    sharpness: Array
    luminance: Array
    gap_before: Flags

    def __len__(self) -> int:
        return len(self.frame_index)


@dataclass(frozen=True, eq=False)
class Breaks:
    """The verdict on a clip.

    Attributes:
        kind: of the longest run of frames that speak against one person; `hidden_face` where only hidden ones were set aside.
        frame_index: where that run begins, or ends if the clip begins with it; None without a break.
        hidden: (F,), frames that say nothing about who is seen.
    """

    kind: IdentityBreak
    frame_index: int | None
    hidden: Flags


def tell_breaks(faces: Sequence, outlier: Flags, curve: PoseGapCurve, most_spreads_below: float) -> Breaks:
    """Judge every run of outliers.

    A run whose faces resemble each other as one person's do is another person, however poorly seen; it came by a hard cut when
    box, pose and luminance change together with the embedding between two neighbouring frames. A run that is no second person and
    is blurred, scored lower than any frame of the person, or next to frames without the face, is the same face hidden.

    Args:
        outlier: (F,), frames that do not look like the person.
    """
    hidden = np.zeros(len(faces), np.bool_)
    judged: list[tuple[int, int, IdentityBreak]] = []
    for start, end in _runs(outlier):
        one_person = _is_one_person(faces, start, end, curve, most_spreads_below)
        if not one_person and _is_poorly_seen(faces, outlier, start, end):
            hidden[start:end] = True
            kind = IdentityBreak.HIDDEN_FACE
        elif one_person:
            is_cut = any(_is_cut(faces, border) for border in (start, end) if 0 < border < len(faces))
            kind = IdentityBreak.HARD_CUT if is_cut else IdentityBreak.SECOND_PERSON
        else:
            kind = IdentityBreak.UNCLEAR
        judged.append((start, end, kind))
    if not judged:
        return Breaks(IdentityBreak.NONE, None, hidden)
    start, end, kind = max(judged, key=lambda run: (run[2] != IdentityBreak.HIDDEN_FACE, run[1] - run[0], -run[0]))
    changes_at = start if start or end == len(faces) else end
    return Breaks(kind, int(faces.frame_index[changes_at]), hidden)


def _runs(flags: Flags) -> list[tuple[int, int]]:
    """Start and end (exclusive) of every run of True."""
    borders = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(start), int(end)) for start, end in borders.reshape(-1, 2)]


def _is_one_person(faces: Sequence, start: int, end: int, curve: PoseGapCurve, most_spreads_below: float) -> bool:
    """Whether most pairs of at least two frames can be one person."""
    if end - start < 2:
        return False
    alike: list[bool] = []
    for frame in range(start, end - 1):
        similarity = faces.embeddings[frame + 1 : end] @ faces.embeddings[frame]
        gap = gaps_deg(faces.rotations[frame + 1 : end], faces.rotations[frame])
        alike += curve.is_alike(similarity, gap, most_spreads_below).tolist()
    return 2 * sum(alike) > len(alike)


def _is_poorly_seen(faces: Sequence, outlier: Flags, start: int, end: int) -> bool:
    if faces.gap_before[start] or (end < len(faces) and faces.gap_before[end]):
        return True
    if outlier.all():
        return False
    blurred = np.median(faces.sharpness[start:end]) < BLURRED_SHARE * np.median(faces.sharpness[~outlier])
    return bool(blurred or np.median(faces.score[start:end]) < faces.score[~outlier].min())


def _is_cut(faces: Sequence, frame: int) -> bool:
    """Whether more than the embedding changes between the frame and the one before."""
    before = frame - 1
    moved = _overlap(faces.boxes[before], faces.boxes[frame]) < SAME_PLACE_OVERLAP
    turned = gaps_deg(faces.rotations[frame : frame + 1], faces.rotations[before])[0] > POSE_JUMP_DEG
    lit = abs(faces.luminance[frame] - faces.luminance[before]) > LUMINANCE_JUMP
    return int(moved) + int(turned) + int(lit) >= SIGNS_OF_A_CUT


def _overlap(a: Array, b: Array) -> float:
    """Intersection over union of two boxes."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = float(np.prod(np.clip(sides, 0, None)))
    return shared / float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared)
