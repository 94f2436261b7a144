"""How much a clip's pictures move, whatever their size and rate.

Belongs here: decoded frames -> one figure. Not here: decoding, from which figure on a clip is still (the face policy).

OpenHumanVid's motion score is UniMatch's optical flow; which frames it compares, at which size and how it pools is not published.
Ours is read as Open-Sora's script reads UniMatch (its tools/scoring/optical_flow): the mean of both components' absolute values,
in pixels of a 576 x 320 picture (320 x 576 where the frame stands upright), between frames ten apart at 24 a second; but by
DIS optical flow. Hence it has a name of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lafid_assets.ingest.packets import FrameIndex
from lafid_assets.pictures.grey import Grey, grey
from model.encoding.shown import ShownFrame

APART_S = 10 / 24
MOST_APART = 2.0
"""Times `APART_S`; frames farther apart have moved beyond what a flow can follow."""
PAIRS = 8
LONGER_PX, SHORTER_PX = 288, 160
UNIT = 576 / LONGER_PX

Pair = tuple[int, int]


@dataclass(eq=False)
class Motion:
    """Collects the frames that it compares out of those it is shown: a watcher of `decode_samples`.

    Attributes:
        pairs: timestamps of the frames to compare, as `plan_pairs` gives them.
    """

    pairs: Sequence[Pair]
    seconds_per_tick: float
    _seen: dict[int, Grey] = field(default_factory=dict)

    @classmethod
    def of(cls, index: FrameIndex) -> "Motion":
        """Over a whole clip."""
        return cls(plan_pairs(index), float(index.time_base))

    def __post_init__(self) -> None:
        self._wanted = {pts for pair in self.pairs for pts in pair}

    def __call__(self, shown: ShownFrame) -> None:
        if shown.pts in self._wanted:
            import cv2

            picture = grey(shown.rgb(LONGER_PX))
            upright = picture.shape[0] > picture.shape[1]
            size = (SHORTER_PX, LONGER_PX) if upright else (LONGER_PX, SHORTER_PX)
            self._seen[shown.pts] = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)

    def mean(self) -> float | None:
        """Mean over the pairs that were seen; None without a pair: the clip is too short, or shows too few frames a second."""
        import cv2

        flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        moved = []
        for first, second in self.pairs:
            a, b = self._seen.get(first), self._seen.get(second)
            if a is not None and b is not None and a.shape == b.shape:
                length_s = (second - first) * self.seconds_per_tick
                moved.append(
                    UNIT * float(np.abs(flow.calc(a, b, np.zeros((*a.shape, 2), np.float32))).mean()) * APART_S / length_s
                )
        return float(np.mean(moved)) if moved else None


def plan_pairs(index: FrameIndex) -> list[Pair]:
    """At most `PAIRS` pairs of timestamps `APART_S` apart or a frame more, evenly spread over the clip."""
    apart = APART_S / index.time_base
    stamps = np.asarray(index.pts)
    starts = np.flatnonzero(stamps <= stamps[-1] - apart)
    if not len(starts):
        return []
    firsts = stamps[np.unique(np.linspace(0, len(starts) - 1, PAIRS).round().astype(int))]
    seconds = stamps[np.searchsorted(stamps, firsts + float(apart) - 1e-6)]
    return [(int(a), int(b)) for a, b in zip(firsts, seconds, strict=True) if b - a <= MOST_APART * apart]
