"""By which moments a copy of a surveyed clip is known again.

Belongs here: which pictures are hashed, as rows of `picture_hashes`. Not here: the hash (`pictures.picture_hash`), comparing
clips by it (`duplicates`).

A copy may be any part of a clip. So pictures are hashed as densely in a clip of ten minutes as in one of ten seconds, whose
sampled frames are enough.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lafid_assets.faces.sampling import SampledFrame, plan_samples, spread
from lafid_assets.ingest.packets import FrameIndex
from lafid_assets.pictures.grey import thumbnail
from lafid_assets.pictures.picture_hash import crop_hashes, picture_hash
from model.encoding.shown import ShownFrame

APART_S = 0.5
"""Most seconds between two pictures."""
CROPS_APART_S, LEAST_CROPPED = 2.0, 8
"""Most seconds between two pictures of which crops are hashed too; and how many there are of a short clip."""
SIDE_PX = 160
"""Longer side of what a picture between two sampled frames is hashed from."""


class PictureHashes:
    """Hashes what it is shown of a clip.

    Args:
        index: of the clip.
        sampled: timestamps of the frames that are sampled, which come by `add`; `watch` takes those between them.
    """

    def __init__(self, clip_id: str, shard: str, index: FrameIndex, sampled: Sequence[int]) -> None:
        self._clip = {"clip_id": clip_id, "shard": shard}
        even = plan_samples(index, 1 / APART_S, len(index.pts))
        self._between = frozenset(even if len(even) > len(sampled) else ()).difference(sampled)
        wanted = math.ceil(float((index.pts[-1] - index.pts[0]) * index.time_base) / CROPS_APART_S) + 1
        self._cropped = spread(sorted({*sampled, *self._between}), max(LEAST_CROPPED, wanted))
        self._first_pts: int | None = None
        self._rows: list[dict[str, Any]] = []

    def watch(self, shown: ShownFrame) -> None:
        """Every decoded frame in turn."""
        self._first_pts = shown.pts if self._first_pts is None else self._first_pts
        if shown.pts in self._between:
            self._hash(shown.pts, shown.time_since(self._first_pts), shown.rgb(SIDE_PX))

    def add(self, sample: SampledFrame) -> None:
        """A sampled frame."""
        self._hash(sample.pts, sample.time_s, sample.image_rgb)

    def rows(self) -> list[dict[str, Any]]:
        """The rows in order of time."""
        return sorted(self._rows, key=lambda row: row["pts"])

    def _hash(self, pts: int, time_s: float, image_rgb: NDArray[np.uint8]) -> None:
        small = thumbnail(image_rgb)
        whole = picture_hash(small)
        if whole is not None:
            crops = crop_hashes(small) if pts in self._cropped else None
            self._rows.append(self._clip | {"pts": pts, "time_s": time_s, "picture_hash": whole, "crop_hashes": crops})
