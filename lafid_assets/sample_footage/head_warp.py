"""Turning the head of a portrait: for every pixel of a frame, the pixel of the portrait that is seen there.

Belongs here: the warp. Not here: the surface that is turned (`relief`), colours and backgrounds (`render`).
Rays are cast, in parallel to the camera's axis, at the turned surface, so that near parts hide far ones. The shoulders stay
where they are: the head's displacement fades out over the neck.
"""

from dataclasses import dataclass

import numpy as np

from lafid_assets.sample_footage.relief import CHIN, Array, HeadFrame, depth_at, smoothstep
from lafid_assets.sample_footage.resample import dense_map, grid_px
from model.face_engine.rotations import rotation_from_angles

GRID_STEP_PX = 3
"""Rays are cast on a grid this coarse; between them the map is interpolated."""

_PIVOT = np.array((0.0, -0.9, 0.2))
"""Joint of skull and neck in head units (y up)."""
_CHIN_DEPTH = 0.45
_NEAREST, _FARTHEST, _RAY_STEPS = 1.9, -1.1, 18
_SECANT_STEPS = 2


@dataclass(frozen=True)
class Pose:
    """Head pose in degrees, signs as in `model.face_engine.rotations`."""

    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    roll_deg: float = 0.0


@dataclass(frozen=True)
class Placement:
    """Where the nose bridge comes to lie in the frame, and how large: 1 draws the portrait at its own scale."""

    x_px: float
    y_px: float
    scale: float = 1.0


def warp_map(frame: HeadFrame, depth: Array, pose: Pose, placement: Placement, size: tuple[int, int]) -> Array:
    """(height, width, 2) float32 for `resample`: x and y in the portrait of what each pixel of the frame shows.

    Args:
        frame: the head in the portrait.
        depth: its surface (`relief.depth_map`).
        pose: of the turned head.
        placement: of the head in the frame.
        size: width, height of the frame in pixels.
    """
    in_frame_px = grid_px(size, GRID_STEP_PX) - (placement.x_px, placement.y_px)
    grid = (in_frame_px / (placement.scale * frame.half_width_px)).astype(np.float32)
    u, v = grid[..., 0].copy(), grid[..., 1].copy()
    stiffness = _stiffness(u, v, float(frame.landmarks[CHIN, 1]))
    moving = np.flatnonzero(stiffness.any(axis=1))
    if moving.size:
        band = slice(moving[0], moving[-1] + 1)
        grid[band] += stiffness[band, :, None] * (_cast(depth, pose, u[band], v[band]) - grid[band])
    return dense_map(frame.to_px(grid), size, GRID_STEP_PX)


def _stiffness(u: Array, v: Array, chin: float) -> Array:
    """1 where a point moves with the skull, 0 from the shoulders on."""
    below_chin = smoothstep((v - chin - 0.05) / 1.0)
    beside_neck = smoothstep((np.abs(u) - 0.95) / 0.4) * smoothstep((v - 0.9) / 0.3)
    return ((1 - below_chin) * (1 - beside_neck)).astype(np.float32)


def _cast(depth: Array, pose: Pose, u: Array, v: Array) -> Array:
    """(h, w, 2): the point of the frontal portrait, in head units, that the ray through each (u, v) meets first."""
    rotation = rotation_from_angles(pose.yaw_deg, pose.pitch_deg, pose.roll_deg).astype(np.float32)
    # A nod keeps the chin's height: turned about the neck alone it would bare skin that no frontal portrait shows.
    nod = _CHIN_DEPTH * np.sin(np.deg2rad(pose.pitch_deg))
    at_zero = [
        np.float32(rotation[i, 0]) * (u - np.float32(_PIVOT[0]))
        + np.float32(rotation[i, 1]) * (-v - np.float32(_PIVOT[1] - nod))
        + np.float32(_PIVOT[i] - rotation[i, 2] * _PIVOT[2])
        for i in range(3)
    ]

    def height_above(along: Array) -> Array:
        x, y, z = (at_zero[i] + rotation[i, 2] * along for i in range(3))
        return z - depth_at(depth, x, -y)

    outside = np.full(u.shape, _NEAREST, np.float32)
    inside = np.full(u.shape, _FARTHEST, np.float32)
    above_outside = height_above(outside)
    above_inside = height_above(inside)
    found = np.zeros(u.shape, bool)
    for along in np.linspace(_NEAREST, _FARTHEST, _RAY_STEPS, dtype=np.float32)[1:]:
        above = height_above(np.full(u.shape, along, np.float32))
        hit = ~found & (above <= 0)
        inside[hit], above_inside[hit] = along, above[hit]
        found |= hit
        outside = np.where(found, outside, along)
        above_outside = np.where(found, above_outside, above)
    for _ in range(_SECANT_STEPS):
        gap = np.maximum(above_outside - above_inside, np.float32(1e-6))
        along = outside + (inside - outside) * np.clip(above_outside / gap, 0.02, 0.98)
        above = height_above(along)
        front = above > 0
        outside, above_outside = np.where(front, along, outside), np.where(front, above, above_outside)
        inside, above_inside = np.where(front, inside, along), np.where(front, above_inside, above)
    gap = np.maximum(above_outside - above_inside, np.float32(1e-6))
    along = outside + (inside - outside) * np.clip(above_outside / gap, 0, 1)
    return np.stack((at_zero[0] + rotation[0, 2] * along, -(at_zero[1] + rotation[1, 2] * along)), axis=-1)
