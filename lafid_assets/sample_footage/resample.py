"""Drawing one picture from the pixels of another, by maps that say where each pixel comes from.

Belongs here: maps and interpolation. Not here: what a map stands for (`head_warp`, `face_sheet`, `mouth`).
"""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Pixel = TypeVar("Pixel", np.uint8, np.float32)


def grid_px(size: tuple[int, int], step_px: int) -> NDArray[np.float64]:
    """(rows, columns, 2): x and y of the centres of cells `step_px` wide that cover a picture of `size` (width, height)."""
    columns, rows = (-(-side // step_px) for side in size)
    return np.stack(np.meshgrid(*((np.arange(count) + 0.5) * step_px - 0.5 for count in (columns, rows))), axis=-1)


def dense_map(coarse_px: NDArray[np.floating], size: tuple[int, int], step_px: int) -> NDArray[np.float32]:
    """(height, width, 2) float32 map for a picture of `size` from one known at `grid_px`, interpolated between."""
    import cv2

    rows, columns = coarse_px.shape[:2]
    full = cv2.resize(coarse_px.astype(np.float32), (columns * step_px, rows * step_px), interpolation=cv2.INTER_LINEAR)
    return np.asarray(full[: size[1], : size[0]], np.float32)


def resample(picture: NDArray[Pixel], source_px: NDArray[np.float32], *, cubic: bool = False) -> NDArray[Pixel]:
    """The picture whose pixels lie at `source_px` (height, width, 2; x, y) of `picture`; beyond its border the border goes on."""
    import cv2

    kernel = cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR
    # OpenCV's stub does not know that one map can hold both coordinates.
    drawn = cv2.remap(picture, source_px, None, kernel, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
    return np.asarray(drawn, picture.dtype)
