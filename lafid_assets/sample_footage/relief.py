"""The simple 3D surface under a frontal portrait: how far each point of the picture stands out towards the camera.

Belongs here: depth from landmarks. Not here: turning the surface (`head_warp`), colours (`persons`).
The face is an elliptic cylinder fitted into the jaw line, rounded off at crown and chin, with a nose, lips and eye sockets on
it. Depths follow the usual human proportions in units of half the face's width: brow 1.2, nose tip 1.45, mouth 1.25,
ears 0.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lafid_assets.sample_footage.resample import resample

Array = NDArray[np.float32]

JAW = slice(0, 17)
NOSE_BRIDGE, NOSE_TIP, NOSE_BASE, CHIN = 27, 30, 33, 8
LEFT_EYE, RIGHT_EYE = slice(36, 42), slice(42, 48)
INNER_LIPS = slice(60, 68)

CELLS_PER_UNIT = 40
SIDE, TOP, BOTTOM = 2.6, -2.4, 3.0
"""Extent of the surface around the nose bridge, in half face widths (y down)."""

_FACE_DEPTH, _NOSE_DEPTH, _LIP_DEPTH, _EYE_SOCKET_DEPTH = 1.18, 0.30, 0.10, 0.06
_EAR_DEPTH, _BACK_DEPTH, _CROWN_DEPTH, _NECK_DEPTH = 0.22, -0.30, 0.60, 0.25
_CHEEK_MARGIN = 1.03


@dataclass(frozen=True, eq=False)
class HeadFrame:
    """Where a head stands in its picture.

    Attributes:
        origin_px: x, y of the nose bridge on the midline of the jaw.
        half_width_px: half the distance between the ends of the jaw line: the unit of everything else.
        landmarks: (68, 2) in that unit, relative to the origin, y down.
    """

    origin_px: tuple[float, float]
    half_width_px: float
    landmarks: NDArray[np.float64]

    @classmethod
    def of(cls, landmarks_px: NDArray[np.float64]) -> "HeadFrame":
        """The frame of (68, 2) landmarks."""
        half_width = float(np.linalg.norm(landmarks_px[16] - landmarks_px[0]) / 2)
        origin = (float(landmarks_px[[0, 16], 0].mean()), float(landmarks_px[28:31, 1].mean()))
        return cls(origin, half_width, (landmarks_px - origin) / half_width)

    def to_px(self, points: NDArray[np.floating]) -> NDArray[np.floating]:
        """(..., 2) from head units to pixels."""
        return points * self.half_width_px + np.asarray(self.origin_px)

    def from_px(self, points_px: NDArray[np.floating]) -> NDArray[np.floating]:
        """(..., 2) from pixels to head units."""
        return (points_px - np.asarray(self.origin_px)) / self.half_width_px


def smoothstep(x: NDArray[np.floating] | float) -> NDArray[np.floating]:
    """0 below 0, 1 above 1, and a smooth cubic between."""
    t = np.clip(x, 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def depth_map(landmarks: NDArray[np.float64], hair_half_width: float) -> Array:
    """Depth over the grid of `CELLS_PER_UNIT`, rows from TOP to BOTTOM, columns from -SIDE to SIDE.

    Args:
        landmarks: (68, 2) in head units.
        hair_half_width: half the width of hair or hat above the brows, in head units.
    """
    import cv2

    columns = np.arange(-SIDE, SIDE, 1 / CELLS_PER_UNIT)
    rows = np.arange(TOP, BOTTOM, 1 / CELLS_PER_UNIT)
    u, v = np.meshgrid(columns, rows)

    half_width = np.where(u < 0, _jaw_half_width(landmarks[:8], rows), _jaw_half_width(landmarks[16:8:-1], rows))
    above_brows = smoothstep((-v - 0.25) / 0.7)
    half_width = _CHEEK_MARGIN * half_width * (1 - above_brows) + hair_half_width * above_brows
    half_width = cv2.GaussianBlur(half_width, (0, 0), 0.06 * CELLS_PER_UNIT)
    across = np.abs(u) / half_width
    face = np.maximum(_FACE_DEPTH * np.sqrt(np.clip(1 - across**2, 0, 1)), _EAR_DEPTH)
    behind = _EAR_DEPTH + (_BACK_DEPTH - _EAR_DEPTH) * smoothstep((across - 1) / 0.5)
    depth = np.where(across < 1, face, behind)

    crown = smoothstep((-v - 0.9) / 1.2)
    neck = smoothstep((v - landmarks[CHIN, 1] - 0.04) / 0.45)
    depth = depth * (1 - crown) + np.minimum(depth, _CROWN_DEPTH) * crown
    depth = depth * (1 - neck) + np.minimum(depth, _NECK_DEPTH) * neck
    depth += _nose(landmarks, u, v) + _bump(landmarks[INNER_LIPS], u, v, 0.28, 0.16, _LIP_DEPTH)
    for eye in (LEFT_EYE, RIGHT_EYE):
        depth -= _bump(landmarks[eye], u, v, 0.20, 0.12, _EYE_SOCKET_DEPTH)
    return cv2.GaussianBlur(depth.astype(np.float32), (0, 0), 0.035 * CELLS_PER_UNIT)


def depth_at(depth: Array, u: Array, v: Array) -> Array:
    """Depth at (h, w) points in head units; the border's depth beyond the grid."""
    cells = np.stack((u - np.float32(-SIDE), v - np.float32(TOP)), axis=-1) * np.float32(CELLS_PER_UNIT)
    return resample(depth, cells)


def _jaw_half_width(jaw_side: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    order = np.argsort(jaw_side[:, 1])
    return np.interp(rows, jaw_side[order, 1], np.abs(jaw_side[order, 0]))[:, None]


def _nose(landmarks: NDArray[np.float64], u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
    top, base = landmarks[NOSE_BRIDGE, 1], landmarks[NOSE_BASE, 1]
    rise = smoothstep((v - top) / (landmarks[NOSE_TIP, 1] - top + 0.12)) * smoothstep((base + 0.20 - v) / 0.22)
    within = smoothstep((v - top + 0.25) / 0.25) * (v < base + 0.3)
    width = 0.10 + 0.13 * rise
    return _NOSE_DEPTH * (0.25 + 0.75 * rise) * within * np.exp(-(((u - landmarks[NOSE_TIP, 0]) / width) ** 2))


def _bump(
    points: NDArray[np.float64], u: NDArray[np.float64], v: NDArray[np.float64], width: float, height: float, depth: float
) -> NDArray[np.float64]:
    x, y = points.mean(axis=0)
    return depth * np.exp(-(((u - x) / width) ** 2) - ((v - y) / height) ** 2)
