"""How much a video moves, and how steadily; by dense optical flow, without chance.

Belongs here: `motion_amplitude` and `motion_smoothness`, both ours. Not here: how far a face turns (`pose_range`), how much real
clips move (`lafid_assets.pictures.motion`).

OpenS2V-Eval has two scores of that name, which are not rebuilt: one averages the signed components of the flow, so that opposite
motions cancel; the other averages a picture drawn in random colours without a seed.
"""

from collections.abc import Iterator
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.evaluation.measures.record import Absent, DrawnVideo

SHORTER_PX: Final = 160
STILL_PX: Final = 0.05
"""Mean flow a frame, of frames of 160 px, below which a video stands still: its flow is the estimate's own noise."""

Flow = NDArray[np.float32]


def flows(frames: NDArray[np.uint8]) -> Iterator[Flow]:
    """(h, w, 2) px from each frame (H, W, 3) to the next, in pictures whose shorter side is 160 px (Farneback 2003)."""
    before = None
    for frame in frames:
        grey = _small_grey(frame)
        if before is not None:
            yield np.asarray(cv2.calcOpticalFlowFarneback(before, grey, None, 0.5, 3, 15, 3, 5, 1.2, 0), np.float32)  # type: ignore[call-overload]
        before = grey


def _small_grey(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    scale = SHORTER_PX / min(frame.shape[:2])
    size = (round(frame.shape[1] * scale), round(frame.shape[0] * scale))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), size, interpolation=way), np.uint8)


def _length(flow: Flow) -> float:
    return float(np.linalg.norm(flow, axis=-1).mean())


def motion_amplitude(video: DrawnVideo) -> float:
    """Mean length of Farneback's optical flow from frame to frame, in shorter sides a second."""
    lengths = [_length(flow) for flow in flows(video.frames)]
    if not lengths:
        raise Absent("it takes two frames")
    return float(np.mean(lengths)) / SHORTER_PX * video.fps


def motion_smoothness(video: DrawnVideo) -> float:
    """1 - |change of the flow| / (|flow before| + |flow after|), over all frames: 1 goes on as before, 0 turns about."""
    before, changed, moved, lengths = None, 0.0, 0.0, []
    for flow in flows(video.frames):
        lengths.append(_length(flow))
        if before is not None:
            changed += _length(flow - before)
            moved += lengths[-1] + lengths[-2]
        before = flow
    if len(lengths) < 2:
        raise Absent("it takes three frames")
    if np.mean(lengths) < STILL_PX:
        raise Absent("nothing moves")
    return 1 - changed / moved
