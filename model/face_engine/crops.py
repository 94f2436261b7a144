"""Cutting faces out of frames, at the frame's own scale.

Belongs here: crops that several networks share.
"""

import warnings

import cv2
import numpy as np
from numpy.typing import NDArray

from model.face_engine.interface import Box, Image


def square_crop(image: Image, box: Box, scale: float) -> Image | None:
    """The square around the box, `scale` times its longer side; the border is repeated where it reaches beyond the image.

    Returns:
        (S, S, 3), or None where the box has no area.
    """
    x1, y1, x2, y2 = box
    half = max(x2 - x1, y2 - y1) * scale / 2
    if not min(x2 - x1, y2 - y1) > 0:
        return None
    shift = np.array([[1, 0, half - (x1 + x2) / 2], [0, 1, half - (y1 + y2) / 2]], np.float32)
    side = max(round(2 * half), 2)
    return np.asarray(cv2.warpAffine(image, shift, (side, side), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def clipped_crop(image: Image, box: Box, scale: float) -> Image | None:
    """The part of the image inside the box enlarged `scale` times about its centre, in whole pixels.

    Returns:
        (H, W, 3) view, or None where nothing of it lies in the image.
    """
    x1, y1, x2, y2 = box
    half_w, half_h = (x2 - x1) * scale / 2, (y2 - y1) * scale / 2
    center_x, center_y = (x1 + x2) / 2, (y1 + y2) / 2
    left, top = max(0, int(center_x - half_w)), max(0, int(center_y - half_h))
    right, bottom = min(image.shape[1], int(center_x + half_w)), min(image.shape[0], int(center_y + half_h))
    return image[top:bottom, left:right] if right > left and bottom > top else None


def norm_crop(image_rgb: Image, points_px: NDArray[np.float32], side_px: int) -> Image:
    """insightface's alignment by five points."""
    from insightface.utils import face_align

    with warnings.catch_warnings():
        # Of insightface's use of scikit-image, which works until its version 2.2: nothing that a user could mend.
        warnings.filterwarnings("ignore", message="`estimate` is deprecated", category=FutureWarning)
        return np.asarray(face_align.norm_crop(image_rgb, points_px, side_px), np.uint8)
