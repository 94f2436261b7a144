"""Turning heads: signs, rigidity, shoulders."""

import numpy as np
import pytest
from numpy.typing import NDArray

from lafid_assets.sample_footage.head_warp import Placement, Pose, warp_map
from lafid_assets.sample_footage.relief import NOSE_TIP, HeadFrame, depth_map

SIZE = (300, 320)
PLACEMENT = Placement(150.0, 130.0)


@pytest.fixture(scope="module")
def head(collins_landmarks_px: NDArray[np.float64]) -> tuple[HeadFrame, NDArray[np.float32]]:
    frame = HeadFrame.of(collins_landmarks_px)
    return frame, depth_map(frame.landmarks, hair_half_width=1.6)


def seen_at(head: tuple[HeadFrame, NDArray[np.float32]], pose: Pose, point: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where in the frame, in px relative to the nose bridge, a point of the portrait (head units) is seen."""
    frame, depth = head
    source = warp_map(frame, depth, pose, PLACEMENT, SIZE)
    distance = np.linalg.norm(source - frame.to_px(point), axis=-1)
    y, x = np.unravel_index(distance.argmin(), distance.shape)
    return np.array((x - PLACEMENT.x_px, y - PLACEMENT.y_px)) / frame.half_width_px


def test_without_a_turn_the_portrait_is_only_moved_and_scaled(head: tuple[HeadFrame, NDArray[np.float32]]) -> None:
    frame, depth = head
    source = warp_map(frame, depth, Pose(), Placement(150.0, 130.0, scale=2.0), SIZE)
    expected = (np.array((40.0, 60.0)) - (150.0, 130.0)) / 2.0 + frame.origin_px
    assert np.abs(source[60, 40] - expected).max() < 0.05


def test_a_head_turns_to_the_named_side(head: tuple[HeadFrame, NDArray[np.float32]]) -> None:
    nose = head[0].landmarks[NOSE_TIP]
    frontal = seen_at(head, Pose(), nose)
    assert seen_at(head, Pose(yaw_deg=25), nose)[0] < frontal[0] - 0.3
    assert seen_at(head, Pose(yaw_deg=-25), nose)[0] > frontal[0] + 0.3
    assert seen_at(head, Pose(pitch_deg=12), nose)[1] < frontal[1] - 0.1
    assert seen_at(head, Pose(pitch_deg=-12), nose)[1] > frontal[1] + 0.1


def test_a_roll_is_clockwise_in_the_image(head: tuple[HeadFrame, NDArray[np.float32]]) -> None:
    left_brow, right_brow = head[0].landmarks[19], head[0].landmarks[24]
    pose = Pose(roll_deg=15)
    across = seen_at(head, pose, right_brow) - seen_at(head, pose, left_brow)
    frontal = right_brow - left_brow
    turned = np.degrees(np.arctan2(across[1], across[0]) - np.arctan2(frontal[1], frontal[0]))
    assert turned == pytest.approx(15, abs=3)


def test_near_parts_move_as_far_as_their_depth_says(head: tuple[HeadFrame, NDArray[np.float32]]) -> None:
    nose, corner = head[0].landmarks[NOSE_TIP], head[0].landmarks[39]
    before = seen_at(head, Pose(), nose) - seen_at(head, Pose(), corner)
    after = seen_at(head, Pose(yaw_deg=20), nose) - seen_at(head, Pose(yaw_deg=20), corner)
    depth_between = 0.36
    expected = before[0] * np.cos(np.radians(20)) - depth_between * np.sin(np.radians(20))
    assert after[0] == pytest.approx(expected, abs=0.06)


def test_the_shoulders_stay(head: tuple[HeadFrame, NDArray[np.float32]]) -> None:
    frame, depth = head
    frontal = warp_map(frame, depth, Pose(), PLACEMENT, SIZE)
    turned = warp_map(frame, depth, Pose(30, 8, 10), PLACEMENT, SIZE)
    below = round(PLACEMENT.y_px + (frame.landmarks[8, 1] + 1.1) * frame.half_width_px)
    assert np.array_equal(frontal[below:], turned[below:])
    assert not np.array_equal(frontal[:below], turned[:below])
