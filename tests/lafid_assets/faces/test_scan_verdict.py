"""The verdict on looks, without a picture."""

from dataclasses import replace

import numpy as np
import pytest

from lafid_assets.faces.scan_verdict import LOOK_ON, SURVEY, Course, Look, Verdict, judge
from lafid_assets.faces.settings import ScanMargins
from lafid_assets.outcomes import Reason
from model.face_engine.rotations import Angles

MARGINS = ScanMargins()
RNG = np.random.default_rng(0)


def _look(*areas: float, yaw: float | None = 0.0, height: float = 0.4, scores: tuple[float, ...] = (), sure: bool = True) -> Look:
    """A look at faces of these areas, in front of something that moves."""
    return Look(
        areas=areas,
        scores=scores or (0.8,) * len(areas),
        sure=sure and bool(areas),
        height_share=height if areas else None,
        angles=Angles(yaw, 0.0, 0.0) if areas and yaw is not None else None,
        thumbnail=RNG.uniform(0, 255, (18, 32)).astype(np.float32),
    )


def _moving(look: Look) -> Look:
    """The same, but for what stands behind."""
    return replace(look, thumbnail=RNG.uniform(0, 255, (18, 32)).astype(np.float32))


def _dropped(reason: Reason) -> Verdict:
    return Verdict(Course.DROP, reason)


EMPTY, FRONTAL, PAIR, TINY = _look(), _look(0.1), _look(0.1, 0.08), _look(0.005, height=0.05)


@pytest.mark.parametrize(
    ("looks", "verdict"),
    [
        ([EMPTY] * 6, _dropped(Reason.NO_FACE)),
        ([EMPTY] * 5 + [FRONTAL], SURVEY),
        ([FRONTAL] * 6, _dropped(Reason.POSE_VARIATION_LOW)),
        ([_look(0.1, yaw=yaw) for yaw in (-4, 0, 4, 8, 4, 0)], _dropped(Reason.POSE_VARIATION_LOW)),
        ([_look(0.1, yaw=yaw) for yaw in (-10, 0, 5, 10, 5, 0)], SURVEY),
        ([_look(0.1, yaw=None)] * 6, SURVEY),
        ([PAIR, FRONTAL, PAIR, PAIR, PAIR, PAIR], _dropped(Reason.SEVERAL_FACES)),
        ([PAIR, FRONTAL, PAIR, FRONTAL, FRONTAL, _look(0.1, yaw=40.0)], SURVEY),
        ([TINY, EMPTY, TINY, TINY, EMPTY, TINY], _dropped(Reason.FACE_TOO_SMALL)),
        ([TINY, TINY, FRONTAL, FRONTAL, FRONTAL, _look(0.1, yaw=40.0)], SURVEY),
    ],
)
def test_verdict_after_the_last_look(looks: list[Look], verdict: Verdict) -> None:
    assert judge([_moving(look) for look in looks], 6, MARGINS) == verdict


def test_what_all_looks_agree_on_is_believed_early() -> None:
    assert judge([PAIR] * 2, 6, MARGINS) == LOOK_ON
    assert judge([PAIR] * 3, 6, MARGINS) == _dropped(Reason.SEVERAL_FACES)
    assert judge([TINY] * 3, 6, MARGINS) == _dropped(Reason.FACE_TOO_SMALL)
    assert judge([PAIR, FRONTAL, PAIR], 6, MARGINS) == LOOK_ON


def test_small_is_said_before_several_as_the_policy_says_it() -> None:
    both = _look(0.005, 0.004, height=0.05)
    assert judge([both] * 3, 6, MARGINS) == _dropped(Reason.FACE_TOO_SMALL)


def test_nothing_is_said_early_of_what_may_still_come() -> None:
    assert judge([EMPTY] * 5, 6, MARGINS) == LOOK_ON
    assert judge([FRONTAL] * 5, 6, MARGINS) == LOOK_ON


def test_a_turning_face_is_passed_on_at_once() -> None:
    assert judge([FRONTAL, _look(0.1, yaw=30.0)], 6, MARGINS) == SURVEY


def test_a_turning_face_in_a_crowd_is_looked_at_longer() -> None:
    turned = _look(0.1, 0.08, yaw=30.0)
    assert judge([PAIR, turned], 6, MARGINS) == LOOK_ON
    assert judge([PAIR, turned, FRONTAL, FRONTAL], 6, MARGINS) == SURVEY


def test_pitch_and_roll_are_turns_too() -> None:
    nodding = replace(FRONTAL, angles=Angles(0.0, 14.0, 0.0))
    tilting = replace(FRONTAL, angles=Angles(0.0, 0.0, 14.0))
    assert judge([FRONTAL, nodding, tilting], 6, MARGINS) == SURVEY


def test_small_turns_about_each_axis_at_other_times_are_none() -> None:
    turns = [Angles(8.0, 0.0, 0.0), Angles(0.0, 8.0, 0.0), Angles(0.0, 0.0, 8.0)]
    looks = [replace(_moving(FRONTAL), angles=angles) for angles in (*turns, *turns)]
    assert judge(looks, 6, MARGINS) == _dropped(Reason.POSE_VARIATION_LOW)
    assert judge(looks, 6, ScanMargins(scan_min_pose_spread_deg=11)) == SURVEY


def test_still_is_what_nowhere_changes() -> None:
    still = [replace(FRONTAL, thumbnail=np.full((18, 32), 100, np.float32)) for _ in range(6)]
    assert judge(still, 6, MARGINS) == _dropped(Reason.STATIC)
    moved = np.full((18, 32), 100, np.float32)
    moved[4, 7] = 110
    assert judge([*still[:5], replace(FRONTAL, thumbnail=moved)], 6, MARGINS) == _dropped(Reason.POSE_VARIATION_LOW)


@pytest.mark.parametrize(
    ("look", "crowded"),
    [
        (_look(0.1, 0.06), True),
        (_look(0.1, 0.04), False),
        (_look(0.1, 0.09, scores=(0.8, 0.3)), False),
        (_look(0.1, 0.02, 0.07), True),
    ],
)
def test_a_second_face_counts_by_size_and_score(look: Look, crowded: bool) -> None:
    assert (judge([look] * 3, 6, MARGINS) == _dropped(Reason.SEVERAL_FACES)) is crowded


def test_one_look_says_nothing_of_turning() -> None:
    assert judge([FRONTAL], 1, MARGINS) == SURVEY
    assert judge([EMPTY], 1, MARGINS) == _dropped(Reason.NO_FACE)


def test_margins_are_what_decides() -> None:
    wide = ScanMargins(scan_min_pose_variation_deg=10, scan_min_pose_spread_deg=10, scan_early_looks=6)
    assert judge([PAIR] * 5, 6, wide) == LOOK_ON
    assert judge([_look(0.1, yaw=yaw) for yaw in (0, 12)], 2, wide) == SURVEY


@pytest.mark.parametrize("doubtful", [_look(0.005, height=0.05, sure=False), _look(0.1, 0.08, sure=False)])
def test_what_no_survey_would_take_for_a_face_is_none_and_not_a_small_one(doubtful: Look) -> None:
    assert judge([doubtful] * 5, 6, MARGINS) == LOOK_ON
    assert judge([doubtful] * 6, 6, MARGINS) == _dropped(Reason.NO_FACE)
    turning = [
        replace(doubtful, areas=(0.1,), scores=(0.4,), height_share=0.4, angles=Angles(yaw, 0.0, 0.0)) for yaw in (0.0, 40.0)
    ]
    assert judge(turning * 2, 6, MARGINS) == LOOK_ON, "what is no face does not turn"
    assert judge(turning * 3, 6, MARGINS) == _dropped(Reason.NO_FACE)
    certain = replace(doubtful, sure=True)
    assert judge([doubtful] * 2 + [certain], 6, MARGINS) == judge([certain] * 3, 6, MARGINS)
