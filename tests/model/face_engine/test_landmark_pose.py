"""Pose and mouth from landmarks, on projections of the mean shape with known angles."""

import numpy as np
import pytest
from numpy.typing import NDArray

from model.face_engine.landmark_pose import MIRROR, load_landmark_pose
from model.face_engine.rotations import angles_from_rotation, geodesic_deg, rotation_from_angles, stacked_angles
from model.face_engine.synthetic_landmarks import sample_landmarks

Array = NDArray[np.float64]
LOWER_LIP = [55, 56, 57, 58, 59, 65, 66, 67]


def photographed(shape: Array, rotation: Array, px_per_unit: float = 120.0, distance: float = 8.0) -> Array:
    """(68, 2) pixels, y down, of a (68, 3) head at `rotation` seen by a camera `distance` away."""
    x, y, z = (shape @ rotation).T
    return np.stack([x, -y], axis=-1) / (1 - z / distance)[:, None] * px_per_unit + (400.0, 300.0)


@pytest.mark.parametrize("yaw_deg", [-40, -20, 0, 20, 40])
@pytest.mark.parametrize(("pitch_deg", "roll_deg"), [(0, 0), (15, 20), (-15, -35)])
def test_known_angles_come_back(yaw_deg: float, pitch_deg: float, roll_deg: float) -> None:
    pose = load_landmark_pose()
    rotation = pose.rotation(photographed(pose.mean_shape, rotation_from_angles(yaw_deg, pitch_deg, roll_deg)))
    assert rotation is not None
    assert rotation.dtype == np.float32
    assert angles_from_rotation(rotation) == pytest.approx((yaw_deg, pitch_deg, roll_deg), abs=2.5)


def test_varied_noisy_faces_stay_within_three_degrees() -> None:
    pose = load_landmark_pose()
    landmarks, rotations = sample_landmarks(pose.mean_shape, 4_000, np.random.default_rng(99))
    true = stacked_angles(rotations)
    error = np.abs(stacked_angles(pose.rotations(landmarks * (1, -1))) - true)[np.abs(true[:, 0]) < 30]
    assert np.all(error.mean(axis=0) < (2.0, 3.0, 1.5))


@pytest.mark.parametrize("yaw_deg", [-70, -50, 50, 70])
def test_beyond_45_degrees_there_is_no_pose(yaw_deg: float) -> None:
    pose = load_landmark_pose()
    assert pose.rotation(photographed(pose.mean_shape, rotation_from_angles(yaw_deg, 5, 0))) is None


def test_a_mirrored_face_has_exactly_mirrored_angles() -> None:
    pose = load_landmark_pose()
    landmarks = photographed(pose.mean_shape, rotation_from_angles(22, -8, 11))
    mirrored = landmarks[MIRROR] * (-1, 1)
    yaw, pitch, roll = stacked_angles(pose.rotations(landmarks[None]))[0]
    np.testing.assert_allclose(stacked_angles(pose.rotations(mirrored[None]))[0], (-yaw, pitch, -roll), atol=1e-9)


def test_place_size_and_turn_in_the_image_do_not_matter() -> None:
    pose = load_landmark_pose()
    landmarks = photographed(pose.mean_shape, rotation_from_angles(18, 6, 0))
    turn = np.deg2rad(170)
    clockwise = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    rotation, turned = pose.rotations(np.stack([landmarks, 0.3 * landmarks @ clockwise + (50, -20)]))
    assert geodesic_deg(turned, rotation @ rotation_from_angles(0, 0, 170)) < 1e-6


def test_landmarks_of_another_scheme_are_refused() -> None:
    with pytest.raises(ValueError, match="68"):
        load_landmark_pose().rotations(np.zeros((1, 106, 2)))


@pytest.mark.parametrize("angles_deg", [(0, 0, 0), (35, 0, 0), (0, 20, 0), (0, -20, 10), (-25, 15, 40)])
@pytest.mark.parametrize("opening", [0.0, 0.1, 0.25])
def test_mouth_opening_is_that_of_the_head_at_any_pose(opening: float, angles_deg: tuple[float, ...]) -> None:
    pose = load_landmark_pose()
    shape = pose.mean_shape.copy()
    closed_gap = shape[[61, 62, 63], 1].mean() - shape[[65, 66, 67], 1].mean()
    face_height = shape[27, 1] - shape[8, 1]
    shape[LOWER_LIP, 1] -= opening * face_height - closed_gap
    shape[5:12, 1] -= 0.7 * opening * face_height
    rotation = rotation_from_angles(*angles_deg)
    measured = pose.mouth_opening(photographed(shape, rotation, px_per_unit=37.0), rotation)
    assert measured == pytest.approx(opening, abs=0.005 + 0.08 * opening)
