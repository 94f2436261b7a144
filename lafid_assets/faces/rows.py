"""Rows of `face_frames` and `face_info` from what a tier saw in a frame, without the engine's columns.

Belongs here: one frame and its faces -> rows, sharpness and luminance. Not here: decoding, detecting, which tier looks when.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.face_engine.five_points import MAX_COARSE_DEG, coarse_angles, head_height_px
from model.face_engine.interface import Expression, Face

SHARPNESS_SIDE_PX = 112
BT601 = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class FramePlace:
    """Which frame of which clip, seen by which tier; its size is that of the full-size frame."""

    clip_id: str
    shard: str
    tier: str
    frame_index: int
    pts: int
    time_base: Fraction
    time_s: float
    width: int
    height: int

    @property
    def key(self) -> dict[str, Any]:
        """The columns that both tables share."""
        return {
            "clip_id": self.clip_id,
            "shard": self.shard,
            "tier": self.tier,
            "frame_index": self.frame_index,
            "pts": self.pts,
            "time_base_num": self.time_base.numerator,
            "time_base_den": self.time_base.denominator,
        }


def frame_row(place: FramePlace, image_rgb: NDArray[np.uint8], face_count: int) -> dict[str, Any]:
    """A row of `face_frames`; `image_rgb` may be a reduced picture of the frame."""
    return place.key | {
        "time_s": place.time_s,
        "width": place.width,
        "height": place.height,
        "face_count": face_count,
        "luminance": float((image_rgb[::4, ::4] @ BT601).mean()),
        "blur": None,
    }


def face_row(place: FramePlace, face_index: int, face: Face, sharpness_: float | None) -> dict[str, Any]:
    """A row of `face_info`; `face` is in pixels of the full-size frame. The survey adds `track_id` when the clip is through."""
    angles = face.angles
    coarse = coarse_angles(face.landmarks_px)
    coarse_yaw = None if coarse is None else float(np.clip(coarse.yaw_deg, -MAX_COARSE_DEG, MAX_COARSE_DEG))
    x1, y1, x2, y2 = face.box_xyxy_px
    return place.key | {
        "face_index": face_index,
        "track_id": None,
        "box_x1": x1,
        "box_y1": y1,
        "box_x2": x2,
        "box_y2": y2,
        "head_height_px": head_height_px(face.landmarks_px),
        "score": face.score,
        "landmarks_px": face.landmarks_px.ravel().tolist(),
        "rotation": None if face.rotation is None else face.rotation.ravel().tolist(),
        "yaw_deg": angles and float(angles.yaw_deg),
        "pitch_deg": angles and float(angles.pitch_deg),
        "roll_deg": angles and float(angles.roll_deg),
        "coarse_yaw_deg": coarse_yaw,
        "embedding": None if face.embedding is None else face.embedding.tolist(),
        "sharpness": sharpness_,
        "frame_share": frame_share(face, place.width, place.height),
        "mouth_opening": face.mouth_opening,
        **dict.fromkeys(Expression._fields),
        **(face.expression._asdict() if face.expression else {}),
    }


def frame_share(face: Face, width: int, height: int) -> float:
    """Area of the box / area of the frame."""
    x1, y1, x2, y2 = face.box_xyxy_px
    return max(x2 - x1, 0.0) * max(y2 - y1, 0.0) / (width * height)


def sharpness(image_rgb: NDArray[np.uint8], box: tuple[float, float, float, float]) -> float | None:
    """Variance of the 4-neighbour Laplacian of the luma inside `box`, resized to 112 px, so that large faces do not win by size.

    Returns:
        None when the box lies outside the image.
    """
    from PIL import Image

    height, width = image_rgb.shape[:2]
    x1, y1, x2, y2 = (round(v) for v in box)
    crop = image_rgb[max(y1, 0) : max(min(y2, height), 0), max(x1, 0) : max(min(x2, width), 0)]
    if min(crop.shape[:2]) < 2:
        return None
    side = (SHARPNESS_SIDE_PX, SHARPNESS_SIDE_PX)
    luma = np.asarray(Image.fromarray(crop).convert("L").resize(side, Image.Resampling.BOX), np.float32)
    laplacian = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * luma[1:-1, 1:-1]
    return float(laplacian.var())
