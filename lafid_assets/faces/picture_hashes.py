"""By which moments a copy of a surveyed clip is known again.

Belongs here: which pictures are hashed, as rows of `picture_hashes`. Not here: the hash (`pictures.picture_hash`), comparing
clips by it (`duplicates`).

A copy may be any part of a clip. So pictures are hashed as densely in a clip of ten minutes as in one of ten seconds, whose
sampled frames are enough.
"""

import math
from collections.abc import Sequence
from typing import Any

from lafid_assets.faces.sampling import plan_samples, spread
from lafid_assets.ingest.packets import FrameIndex
from lafid_assets.pictures.grey import thumbnail
from lafid_assets.pictures.picture_hash import crop_hashes, picture_hash
from model.encoding.shown import ShownFrame

APART_S = 0.5
"""Most seconds between two pictures."""
CROPS_APART_S, LEAST_CROPPED = 2.0, 8
"""Most seconds between two pictures of which crops are hashed too; and how many there are of a short clip."""
SIDE_PX = 160
"""Longer side of what a picture is hashed from."""


class PictureHashes:
    """Hashes what it is shown of a clip: a watcher of `decode_samples`.

    Args:
        index: of the clip.
        sampled: timestamps of the frames that are sampled.
    """

    def __init__(self, clip_id: str, shard: str, index: FrameIndex, sampled: Sequence[int]) -> None:
        self._clip = {"clip_id": clip_id, "shard": shard}
        even = plan_samples(index, 1 / APART_S, len(index.pts))
        self._hashed = frozenset([*sampled, *(even if len(even) > len(sampled) else ())])
        wanted = math.ceil(float((index.pts[-1] - index.pts[0]) * index.time_base) / CROPS_APART_S) + 1
        self._cropped = spread(sorted(self._hashed), max(LEAST_CROPPED, wanted))
        self._first_pts: int | None = None
        self.rows: list[dict[str, Any]] = []
        """Of `picture_hashes`, in order of time."""

    def __call__(self, shown: ShownFrame) -> None:
        """Every decoded frame in turn."""
        self._first_pts = shown.pts if self._first_pts is None else self._first_pts
        if shown.pts not in self._hashed:
            return
        small = thumbnail(shown.rgb(SIDE_PX))
        whole = picture_hash(small)
        if whole is not None:
            crops = crop_hashes(small) if shown.pts in self._cropped else None
            place = {"pts": shown.pts, "time_s": shown.time_since(self._first_pts)}
            self.rows.append(self._clip | place | {"picture_hash": whole, "crop_hashes": crops})
