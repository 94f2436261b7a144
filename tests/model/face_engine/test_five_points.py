"""Five points out of every landmark set, and the pose that they give."""

import numpy as np
import pytest

from model.face_engine.five_points import FACE_HEIGHT, coarse_angles, five_points, head_height_px
from model.face_engine.landmark_pose import load_landmark_pose
from model.face_engine.rotations import rotation_from_angles


def _projected(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """(68, 2) landmarks of the mean head at that pose, 200 px wide or so, far off the origin."""
    return (load_landmark_pose().mean_shape @ rotation_from_angles(yaw, pitch, roll))[:, :2] * (150, -150) + (700, 300)


@pytest.mark.parametrize("pose", [(0, 0, 0), (30, 0, 0), (-50, 10, 20), (0, 25, 0), (10, -15, -40), (70, 0, 0)])
def test_a_mean_head_gives_its_own_angles(pose: tuple[float, float, float]) -> None:
    assert coarse_angles(_projected(*pose)) == pytest.approx(pose, abs=1e-6)


def test_signs_are_the_projects() -> None:
    """A nose to the image's left of the eyes is a face turned to the image's left: yaw > 0."""
    frontal = five_points(_projected(0, 0, 0))
    nose_left, nose_up = frontal.copy(), frontal.copy()
    nose_left[2, 0] -= 20
    nose_up[2, 1] -= 20
    tilted = (frontal - frontal.mean(axis=0)) @ np.array([[0.97, 0.26], [-0.26, 0.97]])  # clockwise: the right eye lower
    assert tilted[1, 1] > tilted[0, 1]
    assert coarse_angles(nose_left).yaw_deg > 10
    assert coarse_angles(nose_up).pitch_deg > 5
    assert coarse_angles(tilted).roll_deg == pytest.approx(15, abs=0.5)


@pytest.mark.parametrize(("count", "left_eye", "nose"), [(5, 0, 2), (106, 38, 86), (468, None, 1)])
def test_every_landmark_set_has_its_five(count: int, left_eye: int | None, nose: int) -> None:
    landmarks = np.random.default_rng(0).normal(size=(count, 2))
    points = five_points(landmarks)
    assert points.shape == (5, 2)
    assert np.array_equal(points[2], landmarks[nose])
    assert np.allclose(points[0], landmarks[[33, 133]].mean(axis=0) if left_eye is None else landmarks[left_eye])


def test_unknown_sets_are_refused() -> None:
    with pytest.raises(ValueError, match=r"L one of 5, 68, 106, 468, not \(7, 2\)"):
        five_points(np.zeros((7, 2)))


@pytest.mark.parametrize("points", [np.zeros((5, 2)), np.arange(10.0).reshape(5, 2)])
def test_points_that_span_no_face_have_no_pose(points: np.ndarray) -> None:
    assert coarse_angles(points) is None
    assert head_height_px(points) is None


@pytest.mark.parametrize("pose", [(0, 0, 0), (40, 0, 0), (-78, 10, 20), (0, -30, 45)])
def test_a_head_is_as_high_at_every_pose(pose: tuple[float, float, float]) -> None:
    assert head_height_px(_projected(*pose)) == pytest.approx(150 * FACE_HEIGHT)
    assert head_height_px(_projected(*pose) * 0.2) == pytest.approx(30 * FACE_HEIGHT)
