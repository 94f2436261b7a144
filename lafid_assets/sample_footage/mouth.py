"""Opening the mouth of a frontal picture: the lower lip and the chin sink, the dark of the mouth appears between.

Belongs here: the picture of an open mouth. Not here: when it opens (`render`), turning the head (`head_warp`).
"""

import numpy as np
from numpy.typing import NDArray

from lafid_assets.sample_footage.face_sheet import RgbaImage
from lafid_assets.sample_footage.relief import CHIN, HeadFrame, smoothstep
from lafid_assets.sample_footage.resample import resample

_LOWER_EDGE = (60, 67, 66, 65, 64)
"""Landmarks of the inner lower lip from corner to corner."""
_MOUTH_COLOUR_RGB = (58, 18, 20)
_EDGE_SOFTNESS = 0.02
_REACH = 1.3


def open_mouth(texture: RgbaImage, frame: HeadFrame, gap: float) -> RgbaImage:
    """`texture` with the inner lips moved apart by `gap`, in half face widths, on top of the gap that they have."""
    left, top = (int(x) for x in frame.to_px(np.array((-_REACH, -0.1))))
    right, bottom = (int(x) for x in frame.to_px(np.array((_REACH, frame.landmarks[CHIN, 1] + gap + 0.5))))
    window = slice(max(top, 0), bottom), slice(max(left, 0), right)
    rows, columns = (np.arange(n)[w] for n, w in zip(texture.shape, window, strict=False))
    u, v = np.moveaxis(frame.from_px(np.stack(np.meshgrid(columns, rows), axis=-1)), -1, 0)

    edge = frame.landmarks[list(_LOWER_EDGE)]
    centre, half_width = (edge[0, 0] + edge[-1, 0]) / 2, (edge[-1, 0] - edge[0, 0]) / 2
    cut = np.interp(u[0], edge[:, 0], edge[:, 1])
    lip_drop = gap * _arch((u[0] - centre) / half_width)
    below_lip = np.maximum(v - cut - lip_drop, 0)
    chin_drop = gap * _arch((u - centre) / (half_width + 1.2 * below_lip))
    chin_drop *= 1 - smoothstep((v - frame.landmarks[CHIN, 1] - gap - 0.05) / 0.4)

    source_v = np.where(v > cut + lip_drop, v - chin_drop, np.minimum(v, cut))
    source = frame.to_px(np.stack((u, source_v), axis=-1)).astype(np.float32)
    moved = resample(texture, source)
    inside = smoothstep((v - cut) / _EDGE_SOFTNESS) * smoothstep((cut + lip_drop - v) / _EDGE_SOFTNESS)
    inside = (inside * (lip_drop > 0))[..., None]
    moved[..., :3] = np.rint(moved[..., :3] * (1 - inside) + np.array(_MOUTH_COLOUR_RGB) * inside).astype(np.uint8)
    opened = texture.copy()
    opened[window] = moved
    return opened


def _arch(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 in the middle, 0 at -1 and 1 and beyond."""
    return np.clip(1 - x**2, 0, 1) ** 0.75
