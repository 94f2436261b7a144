"""Where the face is in the latents of a clip.

Belongs here: places of a face at a few moments of the footage -> a box a latent frame. Not here: which face it is (curation),
what the loss makes of the boxes.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model.encoding.video_io import Window

Boxes = NDArray[np.float32]
"""(N, 4): x1 y1 x2 y2; a row of NaN where the face was not seen."""


def boxes_in_latents(
    times_s: Sequence[float], boxes_px: Boxes, window: Window, frames: int, fps: float, temporal_factor: int
) -> Boxes:
    """(T', 4) in shares of the encoded frame.

    A latent frame is given the box at the middle of the frames that it holds. Between two moments at which the face was seen its
    box moves in a straight line; otherwise the nearer moment decides.

    Args:
        times_s: of the moments since the clip's first encoded frame, ascending; < 0 before it.
        boxes_px: (N, 4), in pixels of the footage.
        window: what of each frame is encoded.
        frames: of the clip.
        fps: of the clip.
        temporal_factor: frames that a latent frame holds, the first frame aside.
    """
    latent_frames = 1 + (frames - 1) // temporal_factor
    # The first latent holds frame 0, number n the frames from (n - 1) * factor + 1 to n * factor.
    last = np.arange(latent_frames) * temporal_factor
    middle_s = np.where(last > 0, last - (temporal_factor - 1) / 2, 0) / fps
    placed = _at(middle_s, np.asarray(times_s, np.float64), np.asarray(boxes_px, np.float64).reshape(-1, 4))
    corner, side = np.array((window.left, window.top) * 2), np.array((window.width, window.height) * 2)
    shares = np.clip((placed - corner) / side, 0, 1)
    outside = (shares[:, 2] <= shares[:, 0]) | (shares[:, 3] <= shares[:, 1])
    shares[outside] = np.nan
    return shares.astype(np.float32)


def _at(asked_s: NDArray[np.float64], times_s: NDArray[np.float64], boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    if not len(times_s):
        return np.full((len(asked_s), 4), np.nan)
    after = np.searchsorted(times_s, asked_s).clip(0, len(times_s) - 1)
    before = np.where(times_s[after] > asked_s, after - 1, after).clip(0)
    gap = times_s[after] - times_s[before]
    share = np.divide(asked_s - times_s[before], gap, out=np.zeros_like(asked_s), where=gap > 0).clip(0, 1)[:, None]
    between = (1 - share) * boxes[before] + share * boxes[after]
    nearer = np.where(share <= 0.5, boxes[before], boxes[after])
    # Not a number where either was not seen.
    return np.where(np.isnan(between), nearer, between)
