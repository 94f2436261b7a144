"""How much of a picture is sharp: CPBD, by which OpenHumanVid was gated as `blur`.

Belongs here: one grey picture -> its share of sharp edges. Not here: which frames of a clip are asked (`clip_measures`).

Narvekar and Karam, "A No-Reference Image Blur Metric Based on the Cumulative Probability of Blur Detection" (IEEE TIP 2011). An
edge is seen as blurred with probability 1 - exp(-(w / w_jnb)^3.6), w its width in pixels; CPBD is the share of edges for which
that does not exceed 63 %: of integer widths, those no wider than the just noticeable `w_jnb`. Its unit is the pixel, so it is
of the picture at its own size, as the released one is.
"""

import numpy as np
from numpy.typing import NDArray

BLOCK_PX = 64
LEAST_EDGE_SHARE = 0.002
"""Blocks with a smaller share of edge pixels are smooth, and not asked."""
LOW_CONTRAST = 50
WIDTH_LOW_CONTRAST_PX, WIDTH_PX = 5, 3
"""Just noticeable widths, of blocks up to `LOW_CONTRAST` grey levels and above."""
Places = NDArray[np.int64]

TAN_HALF_OCTANT = np.float32(np.tan(np.pi / 8))
_BESIDE = np.array([[1, 0, 1]], np.uint8)


def sharp_edge_share(grey: NDArray[np.uint8]) -> float | None:
    """CPBD of an (H, W) picture, 0 (blurred) to 1 (sharp).

    Returns:
        None where no whole block has edges: nothing can be said of a smooth picture.
    """
    import cv2

    height, width_px = grey.shape
    rows, columns = height // BLOCK_PX, width_px // BLOCK_PX
    if not rows or not columns:
        return None
    edges = _edges(grey)[: rows * BLOCK_PX, : columns * BLOCK_PX]
    if not edges.any():
        return None
    column, row = cv2.findNonZero(edges).reshape(-1, 2).T
    block = row // BLOCK_PX * columns + column // BLOCK_PX
    has_edges = np.bincount(block, minlength=rows * columns) > LEAST_EDGE_SHARE * BLOCK_PX**2
    asked = has_edges[block] & (row > 0) & (row < height - 1) & (column > 0) & (column < width_px - 1)
    at, width = _edge_widths(grey, row[asked], column[asked])
    noticeable = np.where(_contrast(grey, rows, columns) <= LOW_CONTRAST, WIDTH_LOW_CONTRAST_PX, WIDTH_PX)
    return float((width <= noticeable.ravel()[block[asked][at]]).mean()) if len(width) else None


def _edges(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Sobel's upright edges, thinned: stronger than most of the picture, and than the neighbours left and right or above and
    below; 0 elsewhere."""
    import cv2

    slope = cv2.Sobel(grey, cv2.CV_32F, 1, 0, scale=1 / 8, borderType=cv2.BORDER_REFLECT)
    strength = cv2.multiply(slope, slope)
    in_row = cv2.compare(strength, cv2.dilate(strength, _BESIDE), cv2.CMP_GT)
    in_column = cv2.compare(strength, cv2.dilate(strength, _BESIDE.T), cv2.CMP_GT)
    strong = cv2.compare(strength, 2 * float(np.sqrt(cv2.mean(strength)[0])), cv2.CMP_GT)  # type: ignore[call-overload]
    return np.asarray(cv2.bitwise_and(cv2.bitwise_or(in_row, in_column), strong), np.uint8)


def _contrast(grey: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.int16]:
    """(rows, columns): grey levels between the darkest and the brightest pixel of every block."""
    lines = grey[: rows * BLOCK_PX, : columns * BLOCK_PX].reshape(rows, BLOCK_PX, -1)
    brightest, darkest = (lines.max(axis=1), lines.min(axis=1))
    blocks = rows, columns, BLOCK_PX
    return brightest.reshape(blocks).max(axis=2).astype(np.int16) - darkest.reshape(blocks).min(axis=2)


def _edge_widths(grey: NDArray[np.uint8], row: Places, column: Places) -> tuple[Places, Places]:
    """Which of the edges stand upright, and their width along the row, from extremum to extremum of the luma; one that is wider
    than anything that is asked for is not followed to its end."""
    luma, width_px = np.ravel(grey), grey.shape[1]
    place = row.astype(np.int64) * width_px + column
    across = luma[place + 1].astype(np.int16) - luma[place - 1]
    down = luma[place + width_px].astype(np.int16) - luma[place - width_px]
    upright = np.flatnonzero((across != 0) & (np.abs(down) <= TAN_HALF_OCTANT * np.abs(across)))
    way = np.sign(across[upright])
    width = np.full(len(upright), 2)
    for step in (-1, 1):
        going = np.arange(len(upright))
        inner = place[upright] + step
        outer_column = column[upright] + 2 * step
        while len(going):
            goes_on = (outer_column >= 0) & (outer_column < width_px) & (width[going] <= WIDTH_LOW_CONTRAST_PX)
            going, inner, outer_column = going[goes_on], inner[goes_on], outer_column[goes_on]
            further = (luma[inner + step].astype(np.int16) - luma[inner]) * way[going] * step > 0
            going, inner, outer_column = going[further], inner[further] + step, outer_column[further] + step
            width[going] += 1
    return upright, width
