"""A frame in grey, and as a small picture.

Belongs here: RGB as shown -> luma. Not here: small pictures of every decoded frame, as stored (`shots.thumbnails`).
"""

import numpy as np
from numpy.typing import NDArray

THUMBNAIL_WIDTH, THUMBNAIL_HEIGHT = 32, 18

Grey = NDArray[np.uint8]


def grey(image_rgb: NDArray[np.uint8]) -> Grey:
    """(H, W) luma of (H, W, 3) RGB, by BT.601."""
    import cv2

    return np.asarray(cv2.cvtColor(image_rgb, cv2.COLOR_RGB2GRAY), np.uint8)


def thumbnail(image_rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(18, 32) float32: mean luma of every cell of the frame."""
    import cv2

    size = (THUMBNAIL_WIDTH, THUMBNAIL_HEIGHT)
    return np.asarray(cv2.resize(grey(image_rgb).astype(np.float32), size, interpolation=cv2.INTER_AREA), np.float32)
