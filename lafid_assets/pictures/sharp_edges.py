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


def sharp_edge_share(grey: NDArray[np.uint8]) -> float | None:
    """CPBD of an (H, W) picture, 0 (blurred) to 1 (sharp).

    Returns:
        None where no whole block has edges: nothing can be said of a smooth picture.
    """
    rows, columns = (side // BLOCK_PX for side in grey.shape)
    if not rows or not columns:
        return None
    edges = _edges(grey)
    by_block = edges[: rows * BLOCK_PX, : columns * BLOCK_PX].reshape(rows, BLOCK_PX, columns, BLOCK_PX)
    has_edges = by_block.sum(axis=(1, 3)) > LEAST_EDGE_SHARE * BLOCK_PX**2
    pixels = grey[: rows * BLOCK_PX, : columns * BLOCK_PX].reshape(rows, BLOCK_PX, columns, BLOCK_PX)
    contrast = pixels.max(axis=(1, 3)).astype(np.int16) - pixels.min(axis=(1, 3))
    noticeable = np.where(contrast <= LOW_CONTRAST, WIDTH_LOW_CONTRAST_PX, WIDTH_PX)
    row, column, width = _edge_widths(grey, edges)
    in_block = (row // BLOCK_PX < rows) & (column // BLOCK_PX < columns)
    block = row[in_block] // BLOCK_PX, column[in_block] // BLOCK_PX
    sharp = (width[in_block] <= noticeable[block])[has_edges[block]]
    return float(sharp.mean()) if len(sharp) else None


def _edges(grey: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Sobel's upright edges, thinned: stronger than most of the picture, and than the neighbours left and right or above and
    below."""
    import cv2

    strength = np.square(cv2.Sobel(grey, cv2.CV_32F, 1, 0, scale=1 / 8, borderType=cv2.BORDER_REFLECT))
    strength[strength <= 2 * np.sqrt(strength.mean(dtype=np.float64))] = 0
    framed = np.pad(strength, 1)
    in_row = (strength > framed[1:-1, :-2]) & (strength > framed[1:-1, 2:])
    in_column = (strength > framed[:-2, 1:-1]) & (strength > framed[2:, 1:-1])
    return np.asarray(in_row | in_column)


def _edge_widths(grey: NDArray[np.uint8], edges: NDArray[np.bool_]) -> tuple[Places, Places, Places]:
    """Row and column of the edges that stand upright, and their width along the row, from extremum to extremum of the luma."""
    luma = grey.astype(np.int16)
    row, column = np.nonzero(edges[1:-1, 1:-1])
    row, column = row + 1, column + 1
    across = luma[row, column + 1] - luma[row, column - 1]
    down = luma[row + 1, column] - luma[row - 1, column]
    upright = (across != 0) & (np.abs(down) <= TAN_HALF_OCTANT * np.abs(across))
    row, column, way = row[upright], column[upright], np.sign(across[upright])
    width = np.full(len(row), 2)
    for step in (-1, 1):
        going = np.arange(len(row))
        inner = column + step
        while len(going):
            outer = inner[going] + step
            inside = (outer >= 0) & (outer < luma.shape[1])
            going, outer = going[inside], outer[inside]
            further = (luma[row[going], outer] - luma[row[going], inner[going]]) * way[going] * step > 0
            going = going[further]
            inner[going] += step
            width[going] += 1
    return row, column, width
