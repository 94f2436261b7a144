"""Is a clip hopeless? Decided from what a few looks showed.

Belongs here: looks and margins -> verdict, without any input or output. Not here: looking (`scan`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from lafid_assets.faces.settings import ScanMargins
from lafid_assets.outcomes import Reason
from model.face_engine.rotations import Angles, rotation_from_angles
from model.face_engine.view_spread import pose_gaps_deg

LEAST_POSES = 3
"""Fewer poses say nothing about how a head turns."""


@dataclass(frozen=True, eq=False)
class Look:
    """What one look showed.

    Attributes:
        areas: share of the frame of every face, largest first.
        scores: detector scores, in the same order.
        sure: whether a score is one that the survey would believe.
        height_share: `head_height_px` of the largest face / shorter side of the frame; None without faces, and where the face has
            no size.
        angles: coarse pose of the largest face; None where it cannot be guessed.
        thumbnail: (18, 32) float32, mean luma of every cell of the frame, 0-255.
    """

    areas: tuple[float, ...]
    scores: tuple[float, ...]
    sure: bool
    height_share: float | None
    angles: Angles | None
    thumbnail: NDArray[np.float32]


class Course(StrEnum):
    """What to do next."""

    LOOK_ON = "look_on"
    DROP = "drop"
    SURVEY = "survey"


@dataclass(frozen=True)
class Verdict:
    """What to do with the clip; `reason` where it is dropped."""

    course: Course
    reason: Reason | None = None


LOOK_ON, SURVEY = Verdict(Course.LOOK_ON), Verdict(Course.SURVEY)


def judge(looks: Sequence[Look], planned: int, margins: ScanMargins) -> Verdict:
    """The verdict after some or all of the `planned` looks.

    Several faces, or one far too small, are believed early when every look so far agrees. That nothing is there, moves or turns
    can only be said after the last look. A clip is passed on as soon as its face turns and neither of the first two can
    come true any more. The reasons stand in the order of `constraints.decision`, so that a dropped clip is named as
    the policy would have named it: where no look shows a face of which the survey would be sure, that is a clip without one.
    """
    faced = [look for look in looks if look.areas]
    left = planned - len(looks)
    small = sum(_is_small(look, margins) for look in faced)
    crowded = sum(_is_crowded(look, margins) for look in faced)
    sure = any(look.sure for look in faced)
    early = sure and len(faced) == len(looks) >= margins.scan_early_looks
    for count, reason in ((small, Reason.FACE_TOO_SMALL), (crowded, Reason.SEVERAL_FACES)):
        if faced and ((early and count == len(looks)) or (not left and count >= margins.scan_agreement * len(faced))):
            return Verdict(Course.DROP, reason if sure else Reason.NO_FACE)
    turns = sure and _turns(faced, margins)
    if left:
        undecided = max(small, crowded) + left >= margins.scan_agreement * (len(faced) + left)
        return SURVEY if turns and not undecided else LOOK_ON
    if not sure:
        return Verdict(Course.DROP, Reason.NO_FACE)
    if is_still(looks, margins):
        return Verdict(Course.DROP, Reason.STATIC)
    posed = sum(look.angles is not None for look in looks)
    if turns or posed < max(LEAST_POSES, margins.scan_agreement * len(looks)):
        return SURVEY
    return Verdict(Course.DROP, Reason.POSE_VARIATION_LOW)


def is_still(looks: Sequence[Look], margins: ScanMargins) -> bool:
    """Whether no cell of the thumbnails changes over the looks; there must be two."""
    stacked = np.stack([look.thumbnail for look in looks])
    return len(looks) > 1 and bool(np.ptp(stacked, axis=0).max() <= margins.scan_max_still_change)


def _is_small(look: Look, margins: ScanMargins) -> bool:
    return look.height_share is not None and look.height_share < margins.scan_min_face_height_share


def _is_crowded(look: Look, margins: ScanMargins) -> bool:
    largest, best = look.areas[0], look.scores[0]
    return any(
        area >= margins.scan_prominent_area_ratio * largest and score >= margins.scan_prominent_score_ratio * best
        for area, score in zip(look.areas[1:], look.scores[1:], strict=True)
    )


def _turns(looks: Sequence[Look], margins: ScanMargins) -> bool:
    """Whether the coarse poses vary as far as a clip that is kept might; not where there are no two."""
    angles = np.asarray([look.angles for look in looks if look.angles is not None], np.float64)
    if len(angles) < 2:
        return False
    variation_deg = float(np.ptp(angles, axis=0).sum())
    spread_deg = float(pose_gaps_deg(rotation_from_angles(*angles.T)).max())
    return variation_deg >= margins.scan_min_pose_variation_deg and spread_deg >= margins.scan_min_pose_spread_deg
