"""Every decoded frame of a clip as a small picture, for the price of a fraction of its decoding.

Belongs here: frames -> thumbnails with their places in time. Not here: what lies between two shots (`boundaries`).
"""

from dataclasses import dataclass, field

import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from model.encoding.shown import ShownFrame

WIDTH, HEIGHT = 32, 18


@dataclass(eq=False)
class Thumbnails:
    """Collects what it is shown: to be handed to `decode_samples` as its watcher.

    Attributes:
        pictures: (3, 18, 32) uint8 each, luma and both colour differences as stored: neither turned nor mapped to SDR.
        pts: their timestamps on the rising clock.
    """

    pictures: list[NDArray[np.uint8]] = field(default_factory=list)
    pts: list[int] = field(default_factory=list)
    _reformatter: VideoReformatter = field(default_factory=VideoReformatter)

    def __call__(self, shown: ShownFrame) -> None:
        small = self._reformatter.reformat(shown.frame, WIDTH, HEIGHT, "yuv444p", interpolation=Interpolation.AREA, threads=1)
        self.pictures.append(small.to_ndarray().astype(np.uint8, copy=False))
        self.pts.append(shown.pts)

    def stacked(self) -> NDArray[np.uint8]:
        """(T, 3, 18, 32)."""
        return np.stack(self.pictures) if self.pictures else np.empty((0, 3, HEIGHT, WIDTH), np.uint8)
