"""The synthetic faces: symmetric model, known rotations, reproducible chance."""

import numpy as np
import pytest

from model.face_engine.landmark_pose import MIRROR, RIGID_POINTS, load_landmark_pose
from model.face_engine.rotations import rotation_from_angles, stacked_angles
from model.face_engine.synthetic_landmarks import _slide_jaw_line, sample_landmarks, symmetric_mean_shape


def test_mirror_is_an_involution_that_pairs_left_with_right() -> None:
    shape = load_landmark_pose().mean_shape
    np.testing.assert_array_equal(MIRROR[MIRROR], np.arange(68))
    np.testing.assert_allclose(shape[MIRROR] * (-1, 1, 1), shape, atol=1e-6)
    assert np.all(shape[36:42, 0] < 0)
    assert np.all(shape[MIRROR[36:42], 0] > 0)


def test_symmetric_mean_shape_is_centred_and_symmetric() -> None:
    shape = np.random.default_rng(0).normal(size=(68, 3))
    made = symmetric_mean_shape(shape, RIGID_POINTS)
    np.testing.assert_allclose(made[RIGID_POINTS].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose((made - made[27])[MIRROR] * (-1, 1, 1), made - made[27], atol=1e-12)


def test_same_seed_same_faces_and_poses_cover_the_range() -> None:
    shape = load_landmark_pose().mean_shape
    landmarks, rotations = sample_landmarks(shape, 2_000, np.random.default_rng(3))
    again, _ = sample_landmarks(shape, 2_000, np.random.default_rng(3))
    np.testing.assert_array_equal(landmarks, again)
    angles = stacked_angles(rotations)
    assert np.abs(angles[:, 0]).max() > 65
    assert angles[:, 1:].min() < -40
    assert angles[:, 1:].max() > 40


def test_the_nose_moves_with_yaw_and_pitch() -> None:
    landmarks, rotations = sample_landmarks(load_landmark_pose().mean_shape, 2_000, np.random.default_rng(4))
    from_eyes = landmarks[:, 30] - landmarks[:, 36:48].mean(axis=1)
    assert np.corrcoef(from_eyes[:, 0], rotations[:, 2, 0])[0, 1] > 0.7
    assert np.corrcoef(from_eyes[:, 1], rotations[:, 2, 1])[0, 1] > 0.7


@pytest.mark.parametrize("yaw_deg", [-50.0, -30.0, 30.0, 50.0])
def test_only_the_far_jaw_line_slides_and_outwards(yaw_deg: float) -> None:
    shape = load_landmark_pose().mean_shape
    (slid,) = _slide_jaw_line(shape[None], shape, np.array([yaw_deg]), np.random.default_rng(0))
    rotation = rotation_from_angles(yaw_deg, 0, 0)
    moved = (slid @ rotation - shape @ rotation)[:, 0] * -np.sign(yaw_deg)
    far, near = (slice(0, 8), slice(9, 17)) if yaw_deg > 0 else (slice(9, 17), slice(0, 8))
    assert np.all(moved[far] >= 0)
    assert moved[far].max() > 0.02
    np.testing.assert_array_equal(slid[near], shape[near])
    np.testing.assert_array_equal(slid[8], shape[8])
    np.testing.assert_array_equal(slid[17:], shape[17:])
