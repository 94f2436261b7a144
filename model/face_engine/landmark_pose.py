"""Head pose and mouth opening from 68 facial landmarks (the iBUG 300-W scheme, as dlib's predictor draws them).

Belongs here: the two small networks that read a pose off the landmarks, in numpy, and the geometry of the mouth. Not
here: how they were fitted (`fit_landmark_pose`, on projections of a mean shape alone), what finds the landmarks
(`dlib_engine`).

One network sees all 68 points; it is the more exact one near the frontal view. The other sees the inner 51 (no jaw
line, which slides over the cheek as the head turns); it is the better one at large yaw. Both read the landmarks after
a similarity alignment to the frontal mean shape, so position, size and most of the roll are gone; the roll comes back
exactly.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors.numpy import load_file

from model.face_engine.rotations import angles_from_rotation, nearest_rotation, rotation_from_angles, stacked_angles

Array = NDArray[np.float64]

WEIGHTS = Path(__file__).with_name("landmark_pose.safetensors")
MAX_YAW_DEG = 45.0
"""Beyond it dlib's landmarks no longer follow the face (mean error 17 degrees): the pose is None."""

ALL_POINTS = slice(0, 68)
INNER_POINTS = slice(17, 68)
RIGID_POINTS = slice(27, 48)
"""Nose and eyes: what neither speech nor brows move."""

_LEFT_TO_RIGHT = (
    *((k, 16 - k) for k in range(8)),
    *((17 + k, 26 - k) for k in range(5)),
    *((31, 35), (32, 34)),
    *((36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46)),
    *((48, 54), (49, 53), (50, 52), (55, 59), (56, 58)),
    *((60, 64), (61, 63), (65, 67)),
)
MIRROR = np.arange(68)
for _left, _right in _LEFT_TO_RIGHT:
    MIRROR[_left], MIRROR[_right] = _right, _left
"""Index of each point's counterpart on the other side of the face."""

_NASION, _CHIN = 27, 8
_INNER_UPPER_LIP, _INNER_LOWER_LIP = slice(61, 64), slice(65, 68)
_BLEND_YAW_DEG = (20.0, 35.0)
_ANGLE_SCALE_DEG = 30.0
_FEATURE_SCALE = 10.0
_MIRROR_X = np.diag([-1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class LandmarkPose:
    """The fitted networks; get the shipped ones by `load_landmark_pose`.

    Attributes:
        mean_shape: (68, 3), mirror-symmetric, centred on the rigid points; axes as in `rotations`, eyes 0.76 wide.
        all_points: layers (weight (out, in), bias (out,)) of the network on 68 points.
        inner_points: likewise on points 17-67.
    """

    mean_shape: Array
    all_points: tuple[tuple[Array, Array], ...]
    inner_points: tuple[tuple[Array, Array], ...]

    def rotation(self, landmarks_px: ArrayLike) -> NDArray[np.float32] | None:
        """(3, 3) rotation of the head, as `rotations` defines it; None where |yaw| exceeds 45 degrees.

        Args:
            landmarks_px: (68, 2), x to the right and y down.
        """
        rotation = self.rotations(np.asarray(landmarks_px, np.float64)[None])[0]
        return None if abs(angles_from_rotation(rotation).yaw_deg) > MAX_YAW_DEG else rotation.astype(np.float32)

    def rotations(self, landmarks_px: ArrayLike) -> Array:
        """(N, 3, 3) rotations of (N, 68, 2) landmarks, without the limit on yaw.

        The mean of the answers for the face and for its mirror image: a mirrored face has exactly mirrored angles.

        Raises:
            ValueError: the landmarks are not 68 points each.
        """
        points = np.asarray(landmarks_px, np.float64)
        if points.ndim != 3 or points.shape[1:] != (68, 2):
            raise ValueError(f"landmarks are (N, 68, 2), not {points.shape}")
        up = points * (1.0, -1.0)
        as_seen, mirrored = np.split(self._blended(np.concatenate([up, up[:, MIRROR] * (-1.0, 1.0)])), 2)
        return nearest_rotation(as_seen + _MIRROR_X @ mirrored @ _MIRROR_X)

    def _blended(self, up: Array) -> Array:
        """(N, 3, 3), not orthogonal: the network on all points, giving way to the other over `_BLEND_YAW_DEG`."""
        by_all = self._rotations(up, ALL_POINTS, self.all_points)
        by_inner = self._rotations(up, INNER_POINTS, self.inner_points)
        yaw = (np.abs(stacked_angles(by_all)) + np.abs(stacked_angles(by_inner)))[:, 0] / 2
        start, end = _BLEND_YAW_DEG
        inner_share = np.clip((yaw - start) / (end - start), 0.0, 1.0)[:, None, None]
        return (1.0 - inner_share) * by_all + inner_share * by_inner

    def mouth_opening(self, landmarks_px: ArrayLike, rotation: ArrayLike) -> float:
        """Inner-lip gap over face height (nasion to chin), both in the head's frame: 0 closed, about 0.3 wide open.

        The gap is measured along the head's own vertical axis and divided by that axis' foreshortening, and the face
        height is the mean shape's, scaled to the nose and eyes under the same rotation: so neither yaw, pitch nor
        roll changes the value, nor does the chin, which sinks as the mouth opens.

        Args:
            landmarks_px: (68, 2), x to the right and y down.
            rotation: (3, 3), of the same face.
        """
        up = np.asarray(landmarks_px, np.float64) * (1.0, -1.0)
        head_to_camera = np.asarray(rotation, np.float64).T
        vertical = head_to_camera[:2, 1]
        lips = up[_INNER_UPPER_LIP].mean(axis=0) - up[_INNER_LOWER_LIP].mean(axis=0)
        gap_px = lips @ vertical / (vertical @ vertical)
        return float(gap_px / (self.px_per_unit(up, head_to_camera) * self.face_height))

    @property
    def face_height(self) -> float:
        """From nasion to chin, in units of the mean shape."""
        return float(self.mean_shape[_NASION, 1] - self.mean_shape[_CHIN, 1])

    def px_per_unit(self, points_up: Array, head_to_camera: Array) -> float:
        """At which scale the mean shape's nose and eyes lie on those of (68, 2) landmarks, y up, under a (3, 3) rotation."""
        rigid = points_up[RIGID_POINTS] - points_up[RIGID_POINTS].mean(axis=0)
        model = (self.mean_shape[RIGID_POINTS] @ head_to_camera.T)[:, :2]
        return float(np.sum(rigid * model) / np.sum(model * model))

    def _rotations(self, points_up: Array, subset: slice, layers: tuple[tuple[Array, Array], ...]) -> Array:
        """(N, 3, 3) from one network."""
        features, in_plane_rad = aligned_features(points_up[:, subset], self.mean_shape[subset, :2])
        hidden = features
        for weight, bias in layers[:-1]:
            hidden = _silu(hidden @ weight.T + bias)
        weight, bias = layers[-1]
        aligned = rotation_from_angles(*((hidden @ weight.T + bias) * _ANGLE_SCALE_DEG).T)
        return aligned @ in_plane_rotation(in_plane_rad)


def aligned_features(points_up: Array, mean_xy: Array) -> tuple[Array, Array]:
    """What a network sees: landmarks turned, scaled and shifted onto the frontal mean shape, as differences from it.

    Args:
        points_up: (N, K, 2), y up.
        mean_xy: (K, 2), the same points of the mean shape.

    Returns:
        (N, 2 K) features, and the (N,) in-plane angles in radians by which the points were turned.
    """
    points = points_up[..., 0] + 1j * points_up[..., 1]
    points = points - points.mean(axis=1, keepdims=True)
    mean = mean_xy[:, 0] + 1j * mean_xy[:, 1]
    mean = mean - mean.mean()
    mean = mean / np.linalg.norm(mean)
    in_plane_rad = np.angle(points.conj() @ mean)
    aligned = points * np.exp(1j * in_plane_rad)[:, None]
    difference = (aligned / np.linalg.norm(aligned, axis=1, keepdims=True) - mean) * _FEATURE_SCALE
    return np.concatenate([difference.real, difference.imag], axis=1), in_plane_rad


def regression_targets(rotations: Array, in_plane_rad: Array) -> Array:
    """(N, 3): what a network answers for heads that stand at `rotations` before the alignment by `in_plane_rad`."""
    return stacked_angles(rotations @ in_plane_rotation(-in_plane_rad)) / _ANGLE_SCALE_DEG


def in_plane_rotation(angle_rad: Array) -> Array:
    """(N, 3, 3) turns of the camera's x and y by (N,) angles, counter-clockwise; a head at R @ it stands at R once
    turned."""
    return rotation_from_angles(0.0, 0.0, np.rad2deg(angle_rad))


@lru_cache(maxsize=1)
def load_landmark_pose() -> LandmarkPose:
    """The shipped networks."""
    tensors = {name: tensor.astype(np.float64) for name, tensor in load_file(WEIGHTS).items()}
    return LandmarkPose(
        mean_shape=tensors["mean_shape"], all_points=_layers(tensors, "all_points"), inner_points=_layers(tensors, "inner_points")
    )


def _layers(tensors: dict[str, Array], net: str) -> tuple[tuple[Array, Array], ...]:
    return tuple((tensors[f"{net}.{k}.weight"], tensors[f"{net}.{k}.bias"]) for k in range(3))


def _silu(x: Array) -> Array:
    return x / (1.0 + np.exp(-x))
