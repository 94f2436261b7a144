"""Head rotations: the one place where angles and matrices meet.

Axes: x to the image's right, y up, z out of the image towards the camera (right-handed, for the camera and, on a
frontal face, for the head alike: its z is the nose, its y the crown). Angles are degrees: yaw > 0 turns the face to
the image's left, pitch > 0 raises it, roll > 0 tilts it clockwise in the image.

    R = Rz(roll) @ Ry(yaw) @ Rx(pitch)    of the elementary right-handed matrices, Rz(a) = [[cos a, -sin a, 0], ...]

R takes camera coordinates to head coordinates, so its rows are the head's axes seen by the camera: `R[2]`, the
direction of the nose, is (-sin yaw, cos yaw sin pitch, cos yaw cos pitch). This is the order in which 300W-LP states
its labels and the matrix that 6DRepNet (Hempel et al. 2022, `get_R`) learns from them, so the matrix of that network
is stored as it is.

Not here: estimating a rotation (`landmark_pose`).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


class Angles(NamedTuple):
    """Yaw, pitch and roll of one head in degrees."""

    yaw_deg: float
    pitch_deg: float
    roll_deg: float


def rotation_from_angles(yaw_deg: ArrayLike, pitch_deg: ArrayLike, roll_deg: ArrayLike) -> Array:
    """R = Rz(roll) Ry(yaw) Rx(pitch); (..., 3, 3), the leading shape being that of the broadcast angles."""
    radians = (np.deg2rad(np.asarray(angle, np.float64)) for angle in (yaw_deg, pitch_deg, roll_deg))
    yaw, pitch, roll = np.broadcast_arrays(*radians)
    cos_y, cos_p, cos_r = np.cos(yaw), np.cos(pitch), np.cos(roll)
    sin_y, sin_p, sin_r = np.sin(yaw), np.sin(pitch), np.sin(roll)
    rows = (
        (cos_r * cos_y, cos_r * sin_y * sin_p - sin_r * cos_p, cos_r * sin_y * cos_p + sin_r * sin_p),
        (sin_r * cos_y, sin_r * sin_y * sin_p + cos_r * cos_p, sin_r * sin_y * cos_p - cos_r * sin_p),
        (-sin_y, cos_y * sin_p, cos_y * cos_p),
    )
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def quaternions_from_angles(
    yaw_deg: NDArray[np.float32], pitch_deg: NDArray[np.float32], roll_deg: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The same rotations as unit quaternions (w, x, y, z), (..., 4) float32: a quarter of the memory, for millions at once."""
    half = (np.deg2rad(angle, dtype=np.float32) / 2 for angle in (yaw_deg, pitch_deg, roll_deg))
    (cos_y, sin_y), (cos_p, sin_p), (cos_r, sin_r) = ((np.cos(angle), np.sin(angle)) for angle in half)
    quaternions = np.empty((*cos_y.shape, 4), np.float32)
    quaternions[..., 0] = cos_r * cos_y * cos_p + sin_r * sin_y * sin_p
    quaternions[..., 1] = cos_r * cos_y * sin_p - sin_r * sin_y * cos_p
    quaternions[..., 2] = cos_r * sin_y * cos_p + sin_r * cos_y * sin_p
    quaternions[..., 3] = sin_r * cos_y * cos_p - cos_r * sin_y * sin_p
    return quaternions


def angles_from_rotation(rotation: ArrayLike) -> Angles:
    """Angles of one (3, 3) rotation; `stacked_angles` for many."""
    yaw, pitch, roll = stacked_angles(rotation).tolist()
    return Angles(yaw, pitch, roll)


def stacked_angles(rotations: ArrayLike) -> Array:
    """(..., 3) yaw, pitch, roll in degrees of (..., 3, 3): yaw in [-90, 90], pitch and roll in [-180, 180].

    At yaw = +-90 pitch and roll turn about the same axis; roll is then reported as 0, as 6DRepNet does.

    Raises:
        ValueError: the last two axes are not (3, 3).
    """
    r = np.asarray(rotations, np.float64)
    if r.shape[-2:] != (3, 3):
        raise ValueError(f"a rotation has shape (..., 3, 3), not {r.shape}")
    cos_yaw = np.hypot(r[..., 0, 0], r[..., 1, 0])
    locked = cos_yaw < 1e-6
    yaw = np.arctan2(-r[..., 2, 0], cos_yaw)
    pitch = np.where(locked, np.arctan2(-r[..., 1, 2], r[..., 1, 1]), np.arctan2(r[..., 2, 1], r[..., 2, 2]))
    roll = np.where(locked, 0.0, np.arctan2(r[..., 1, 0], r[..., 0, 0]))
    return np.rad2deg(np.stack([yaw, pitch, roll], axis=-1))


def geodesic_deg(rotation_a: ArrayLike, rotation_b: ArrayLike) -> Array:
    """Angle in degrees, [0, 180], of the rotation that leads from a to b; (..., 3, 3) each, broadcast.

    From the chord ||a - b|| = 2 sqrt(2) sin(angle / 2), which stays exact for small angles where the arccos of the
    trace does not (Huynh 2009, metrics for 3D rotations, functions 5 and 6).
    """
    chord = np.linalg.norm(np.asarray(rotation_a, np.float64) - np.asarray(rotation_b, np.float64), axis=(-2, -1))
    return np.rad2deg(2.0 * np.arcsin(np.clip(chord / (2.0 * np.sqrt(2.0)), 0.0, 1.0)))


def nearest_rotation(matrices: ArrayLike) -> Array:
    """The rotation nearest to each of (..., 3, 3) matrices; of a sum of rotations, their chordal mean.

    By singular values (Kabsch 1978), with determinant +1.
    """
    u, _, vt = np.linalg.svd(np.asarray(matrices, np.float64))
    sign = np.sign(np.linalg.det(u @ vt))
    u[..., :, 2] *= sign[..., None]
    return u @ vt
