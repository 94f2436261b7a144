"""Angles and matrices: the definition, its signs, round trips, distances."""

import numpy as np
import pytest

from model.face_engine.rotations import angles_from_rotation, geodesic_deg, nearest_rotation, rotation_from_angles, stacked_angles

NOSE, CROWN, LEFT_EAR = np.eye(3)[2], np.eye(3)[1], np.eye(3)[0]
"""Head axes on a frontal face: to the camera, up, to the image's right."""


def random_angles(count: int) -> np.ndarray:
    return np.random.default_rng(0).uniform((-89, -179, -179), (89, 179, 179), (count, 3))


def in_camera(rotation: np.ndarray, head_direction: np.ndarray) -> np.ndarray:
    """x right, y up, z to the camera."""
    return rotation.T @ head_direction


def test_is_the_product_of_the_elementary_matrices() -> None:
    yaw, pitch, roll = np.deg2rad((20.0, -30.0, 40.0))
    rx = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    ry = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    rz = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    np.testing.assert_allclose(rotation_from_angles(20, -30, 40), rz @ ry @ rx, atol=1e-12)


def test_positive_yaw_turns_the_nose_to_the_images_left() -> None:
    np.testing.assert_allclose(in_camera(rotation_from_angles(90, 0, 0), NOSE), (-1, 0, 0), atol=1e-12)


def test_positive_pitch_raises_the_nose() -> None:
    np.testing.assert_allclose(in_camera(rotation_from_angles(0, 90, 0), NOSE), (0, 1, 0), atol=1e-12)


def test_positive_roll_tilts_clockwise_in_the_image() -> None:
    rotation = rotation_from_angles(0, 0, 90)
    np.testing.assert_allclose(in_camera(rotation, CROWN), (1, 0, 0), atol=1e-12)
    np.testing.assert_allclose(in_camera(rotation, LEFT_EAR), (0, -1, 0), atol=1e-12)


def test_mirroring_the_image_negates_yaw_and_roll() -> None:
    flip = np.diag([-1.0, 1.0, 1.0])
    np.testing.assert_allclose(flip @ rotation_from_angles(25, 10, -15) @ flip, rotation_from_angles(-25, 10, 15), atol=1e-12)


def test_angles_survive_the_round_trip() -> None:
    angles = random_angles(500)
    np.testing.assert_allclose(stacked_angles(rotation_from_angles(*angles.T)), angles, atol=1e-9)


def test_one_rotation_gives_named_floats() -> None:
    angles = angles_from_rotation(rotation_from_angles(12, -7, 3).astype(np.float32))
    assert angles == pytest.approx((12, -7, 3), abs=1e-4)
    assert isinstance(angles.yaw_deg, float)


@pytest.mark.parametrize("yaw_deg", [90.0, -90.0])
def test_gimbal_lock_keeps_the_rotation(yaw_deg: float) -> None:
    rotation = rotation_from_angles(yaw_deg, 20, 35)
    angles = angles_from_rotation(rotation)
    assert angles.roll_deg == 0
    np.testing.assert_allclose(rotation_from_angles(*angles), rotation, atol=1e-6)


def test_a_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(\.\.\., 3, 3\)"):
        stacked_angles(np.zeros((3, 4)))


@pytest.mark.parametrize("angle_deg", [0.0, 1e-5, 10.0, 120.0, 180.0])
def test_geodesic_is_the_angle_of_the_turn(angle_deg: float) -> None:
    base = rotation_from_angles(*random_angles(20).T)
    for turn in (rotation_from_angles(0, angle_deg, 0), rotation_from_angles(0, 0, angle_deg)):
        np.testing.assert_allclose(geodesic_deg(base, base @ turn), angle_deg, rtol=1e-6, atol=2e-6)


def test_geodesic_does_not_depend_on_the_frame() -> None:
    a, b, frame = rotation_from_angles(*random_angles(3).T)
    assert geodesic_deg(frame @ a, frame @ b) == pytest.approx(geodesic_deg(a, b))
    assert geodesic_deg(a.T, b.T) == pytest.approx(geodesic_deg(a, b))


def test_nearest_rotation_averages_and_never_reflects() -> None:
    mean = nearest_rotation(rotation_from_angles(10, 0, 170) + rotation_from_angles(10, 0, -170))
    assert geodesic_deg(mean, rotation_from_angles(10, 0, 180)) < 0.2
    noisy = np.random.default_rng(1).normal(size=(50, 3, 3))
    np.testing.assert_allclose(np.linalg.det(nearest_rotation(noisy)), 1.0)
