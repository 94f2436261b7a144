"""Synthetic landmarks with known pose: projections of a varied mean shape, all that `fit_landmark_pose` learns from.

Belongs here: how faces vary, how a camera sees them and how a landmark predictor errs. Not here: reading or writing
files, fitting. No photograph and no measured face but the mean shape goes in.
"""

import numpy as np
from numpy.typing import NDArray

from model.face_engine.landmark_pose import MIRROR
from model.face_engine.rotations import rotation_from_angles

Array = NDArray[np.float64]

_JAW = slice(0, 17)
_CHIN = 8
_PARTS = (_JAW, slice(17, 27), slice(27, 36), slice(36, 48), slice(48, 68))
_MIDLINE = (27, 33, 51, 57, 8)
_LOWER_LIP = (55, 56, 57, 58, 59, 65, 66, 67)
_MOUTH_CORNERS = (48, 54, 60, 64)
_JAW_FOLLOWS = {0.7: range(5, 12), 0.35: (3, 4, 12, 13)}
_CHEEK_DEPTH = 0.05
"""How far the cheek lies behind the profile line at the same height, in shape units."""


def symmetric_mean_shape(shape: Array, rigid: slice) -> Array:
    """Mirror-symmetric copy of a (68, 3) shape (x right, y up, z to the camera), centred on its `rigid` points."""
    symmetric = (shape + shape[MIRROR] * (-1.0, 1.0, 1.0)) / 2
    return symmetric - symmetric[rigid].mean(axis=0)


def sample_landmarks(mean_shape: Array, count: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Landmarks of `count` random faces at random poses.

    Args:
        mean_shape: (68, 3), x right, y up, z to the camera, 0.76 from outer eye corner to outer eye corner.
        count: how many.
        rng: source of all chance.

    Returns:
        (count, 68, 2) landmarks in the units of the shape, y up, and (count, 3, 3) rotations.
    """
    yaw_deg = rng.uniform(-70, 70, count)
    pitch_deg, roll_deg = rng.uniform(-45, 45, (2, count))
    rotations = rotation_from_angles(yaw_deg, pitch_deg, roll_deg)
    shapes = _slide_jaw_line(_vary(mean_shape, count, rng), mean_shape, yaw_deg, rng)
    landmarks = _project(shapes @ rotations, 1 / rng.uniform(1 / 15, 1 / 3, count))
    noise = rng.uniform(0.3, 1.5, (count, 1, 1))
    landmarks += rng.normal(0, 0.012, landmarks.shape) * noise
    landmarks[:, _JAW] += rng.normal(0, 0.015, (count, 17, 2)) * noise
    return landmarks, rotations


def _vary(mean_shape: Array, count: int, rng: np.random.Generator) -> Array:
    """(count, 68, 3) faces: proportions, single points (mostly alike on both sides), parts, mouth."""
    shapes = mean_shape * (1 + rng.normal(0, (0.05, 0.05, 0.08), (count, 1, 3)))
    jitter = rng.normal(0, 0.03, (count, 68, 3))
    mirrored = jitter[:, MIRROR] * (-1.0, 1.0, 1.0)
    shapes += 0.9 * (jitter + mirrored) / np.sqrt(2) + 0.15 * jitter
    for part in _PARTS:
        shapes[:, part] += rng.normal(0, (0.01, 0.025, 0.03), (count, 1, 3))
    opening = np.clip(rng.normal(0.03, 0.06, (count, 1)), 0, 0.3)
    shapes[:, _LOWER_LIP, 1] -= opening
    shapes[:, _MOUTH_CORNERS, 1] -= 0.4 * opening
    for share, points in _JAW_FOLLOWS.items():
        shapes[:, list(points), 1] -= share * opening
    shapes[:, 48:68, 0] *= rng.normal(1, 0.08, (count, 1))
    return shapes


def _slide_jaw_line(shapes: Array, mean_shape: Array, yaw_deg: Array, rng: np.random.Generator) -> Array:
    """Move the jaw points of the far side towards the visible outline, where annotators and predictors put them.

    Each point slides on the horizontal slice of the head through it, taken as an ellipse from the jaw to the cheek,
    by 40 to 100 % of the way to the point that bounds the slice from the camera's side. The chin stays.
    """
    jaw = shapes[:, _JAW]
    side = np.sign(mean_shape[_JAW, 0])
    side[_CHIN] = 0.0
    yaw = np.deg2rad(yaw_deg)[:, None]
    half_width = np.abs(jaw[..., 0])
    midline = mean_shape[list(_MIDLINE)]
    front_z = np.interp(-jaw[..., 1], -midline[:, 1], midline[:, 2]) - _CHEEK_DEPTH
    depth = np.clip(front_z - jaw[..., 2], 0.02, None)
    outline = np.arctan2(-side * depth * np.sin(yaw), half_width * np.cos(yaw))
    slid = np.where(outline > 0, outline * rng.uniform(0.4, 1.0, (len(shapes), 1)), 0.0)
    shapes = shapes.copy()
    shapes[:, _JAW, 0] = np.where(side == 0, jaw[..., 0], side * half_width * np.cos(slid))
    shapes[:, _JAW, 2] = jaw[..., 2] + np.abs(side) * depth * np.sin(slid)
    return shapes


def _project(points_camera: Array, distance: Array) -> Array:
    """Perspective of (N, K, 3) points around the origin, seen from `distance` (N,) on the z axis."""
    return points_camera[..., :2] / (1 - points_camera[..., 2:] / distance[:, None, None])
