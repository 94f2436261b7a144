"""How the cached views of every clip of a run are turned: in memory, for a step may look at thousands of them.

Belongs here: how many views a clip has, which is the most frontal, which lie apart. Not here: the views' tensors (`clip_set`),
which of them a step draws (`training.sampling`).
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from model.face_engine.rotations import geodesic_deg, rotation_from_angles

_DIGITS = 4
"""Decimals of an angle in degrees between two poses; what comes after them is how float32 rounds."""


class ViewPoses:
    """The views of the clips of one `ClipSet`, by the clips' indices.

    A clip's views are numbered from 0: those that are spread over pose and expression, then the face of its first frame.

    Args:
        angles_deg: of every clip (V, 3) yaw, pitch, roll in that order, V at least 2.
    """

    def __init__(self, angles_deg: Sequence[NDArray[np.float32]]) -> None:
        self._angles_deg = angles_deg
        self._counts = np.array([len(angles) - 1 for angles in angles_deg])
        self._apart: dict[float, NDArray[np.bool_]] = {}

    def count(self, index: int) -> int:
        """How many spread views there are of one clip."""
        return int(self._counts[index])

    def first_frame(self, index: int) -> int:
        """The number of the view that is the face of the clip's first frame: of the spread one that is the same picture, if any.

        The same picture is turned the same to the last digit.
        """
        *spread, first = self._angles_deg[index].tolist()
        return spread.index(first) if first in spread else len(spread)

    def frontal(self, index: int) -> int:
        """The spread view that is turned least."""
        return int(self._frontal[index])

    def angles_deg(self, index: int, views: Sequence[int]) -> NDArray[np.float32]:
        """(views, 3) yaw, pitch, roll."""
        return self._angles_deg[index][list(views)]

    def pairs_apart(self, index: int, least_gap_deg: float) -> NDArray[np.int64]:
        """(pairs, 2): spread views of one clip, at least so far from each other, in either order.

        Args:
            least_gap_deg: geodesic angle between the poses.
        """
        if least_gap_deg not in self._apart:
            self._apart[least_gap_deg] = self._all_apart(least_gap_deg)
        return np.argwhere(self._apart[least_gap_deg][index])

    @cached_property
    def _frontal(self) -> NDArray[np.int64]:
        """(N,)"""
        return np.nanargmin(geodesic_deg(self._rotations(), np.eye(3)), axis=1)

    def _rotations(self) -> NDArray[np.float64]:
        """(N, V, 3, 3) of the spread views; NaN where a clip has fewer."""
        spread = np.full((len(self._counts), self._counts.max(), 3), np.nan)
        spread[np.arange(spread.shape[1]) < self._counts[:, None]] = np.concatenate([clip[:-1] for clip in self._angles_deg])
        return rotation_from_angles(*np.moveaxis(spread, 2, 0))

    def _all_apart(self, least_gap_deg: float) -> NDArray[np.bool_]:
        """(N, V, V); computed once for all clips, a view beside all others at a time."""
        rotations = self._rotations()
        views = range(rotations.shape[1])
        gaps = (geodesic_deg(rotations[:, view, None], rotations) for view in views)
        apart = np.stack([gap.round(_DIGITS) >= least_gap_deg for gap in gaps], axis=1)
        apart[:, views, views] = False
        return apart
