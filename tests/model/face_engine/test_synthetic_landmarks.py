"""The synthetic faces: symmetric model, known rotations, reproducible chance."""

import numpy as np

from model.face_engine.landmark_pose import MIRROR, RIGID_POINTS, load_landmark_pose
from model.face_engine.rotations import stacked_angles
from model.face_engine.synthetic_landmarks import sample_landmarks, symmetric_mean_shape


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


def test_the_far_jaw_line_lies_near_the_outline() -> None:
    shape = load_landmark_pose().mean_shape
    landmarks, rotations = sample_landmarks(shape, 4_000, np.random.default_rng(5))
    yaw, _, roll = stacked_angles(rotations).T
    turned_left = (yaw > 45) & (np.abs(roll) < 15)
    far, near_nose = landmarks[turned_left, 3, 0], landmarks[turned_left, 33, 0]
    rigid = (np.broadcast_to(shape[3], (turned_left.sum(), 1, 3)) @ rotations[turned_left])[:, 0, 0]
    assert np.mean(far - near_nose) < np.mean(rigid - near_nose)
