"""Every decoded frame of a clip as a small picture, and what lies between its shots, for a fraction of the cost of decoding.

Belongs here: frames -> rows of `shot_boundaries`. Not here: what a boundary is (`boundaries`), what becomes of the shots
(`pieces`).
"""

from array import array
from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from lafid_assets.ingest.packets import FrameIndex
from lafid_assets.shots.boundaries import BoundarySearch
from model.encoding.shown import ShownFrame

WIDTH, HEIGHT = 32, 18


class Thumbnailer:
    """Makes small pictures of frames, whatever their layout."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """(3, 18, 32), luma and both colour differences as stored: neither turned nor mapped to SDR."""
        small = self._reformatter.reformat(frame, WIDTH, HEIGHT, "yuv444p", interpolation=Interpolation.AREA, threads=1)
        return small.to_ndarray().astype(np.uint8, copy=False)


class ShotSearch:
    """Looks for boundaries in what it is shown: to be handed to `decode_samples` as its watcher.

    Args:
        index: of the clip.
    """

    def __init__(self, index: FrameIndex) -> None:
        span_s = float((index.pts[-1] - index.pts[0]) * index.time_base)
        self._boundaries = BoundarySearch((len(index.pts) - 1) / span_s if span_s > 0 else 1.0)
        self._thumbnail = Thumbnailer()
        self._time_base, self._first_pts = index.time_base, index.pts[0]
        self._pts = array("q")

    def __call__(self, shown: ShownFrame) -> None:
        self._boundaries.add(self._thumbnail(shown.frame))
        self._pts.append(shown.pts)

    @property
    def ends(self) -> tuple[int, int]:
        """Timestamps of the first and the last frame that it was shown."""
        return self._pts[0], self._pts[-1]

    def rows(self, clip_id: str, shard: str, begin: int = 0) -> list[dict[str, Any]]:
        """The clip's rows of `shot_boundaries`, numbered from `begin`."""
        return [
            {
                "clip_id": clip_id,
                "shard": shard,
                "boundary_index": number,
                "kind": found.kind,
                "last_pts_before": self._pts[found.first],
                "first_pts_behind": self._pts[found.last],
                "time_base_num": self._time_base.numerator,
                "time_base_den": self._time_base.denominator,
                "last_s_before": self._seconds(found.first),
                "first_s_behind": self._seconds(found.last),
                "score": found.score,
            }
            for number, found in enumerate(self._boundaries.finish(), begin)
        ]

    def _seconds(self, place: int) -> float:
        return float((self._pts[place] - self._first_pts) * self._time_base)
