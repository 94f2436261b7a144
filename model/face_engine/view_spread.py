"""Which of many views of one face show the most of it: farthest-point sampling.

Belongs here: how far views lie apart in pose and expression, and an order in which the first k are well spread for every k. The
only such code: whoever draws a few from many views takes it from here. Not here: which faces come into question and how much
pose, expression and time weigh (`lafid_assets.dataset.references`).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model.face_engine.rotations import geodesic_deg

Array = NDArray[np.float64]


def pose_gaps_deg(rotations: ArrayLike) -> Array:
    """(N, N) geodesic angles between (N, 3, 3) rotations."""
    matrices = np.asarray(rotations, np.float64)
    return geodesic_deg(matrices[:, None], matrices[None])


def expression_gaps(embeddings: ArrayLike) -> Array:
    """(N, N) 1 - cosine of (N, D) embeddings of unit length.

    Embeddings of one person differ by expression, pose and light.
    """
    units = np.asarray(embeddings, np.float64)
    return np.clip(1 - units @ units.T, 0, 2)


def others_first(order: Sequence[int], face: int | None, views: int) -> list[int]:
    """The views that are a model's references: in their order, the one that conditions last, and again where there are too few.

    Args:
        order: numbers of the views, at least one.
        face: number of the view that conditions; None: no one of them does.
    """
    behind = sorted(order, key=lambda view: view == face)
    return [behind[slot % len(behind)] for slot in range(views)]


def farthest_first(
    gaps: Array, begun: Sequence[int], most: int, quality: ArrayLike, step: float, among: NDArray[np.bool_] | None = None
) -> list[int]:
    """Indices in an order whose first k are well spread for every k: each is as far as can be from all before it.

    Args:
        gaps: (N, N) distances, symmetric, 0 on the diagonal.
        begun: how the order begins; at least one.
        most: its length at most.
        quality: (N,), which view is taken of those that are equally far.
        step: what differs by less counts as equally far, and a view nearer than that to one before it is not taken.
        among: (N,) which views come into question; None: all.
    """
    worth = np.asarray(quality, np.float64)
    order = list(begun)
    nearest = gaps[order].min(axis=0)
    if among is not None:
        nearest = np.where(among, nearest, 0.0)
    while len(order) < most and nearest.max() >= step:
        as_far = (nearest > nearest.max() - step) & (nearest >= step)
        farthest = int(np.lexsort((-nearest, -worth, ~as_far))[0])
        order.append(farthest)
        nearest = np.minimum(nearest, gaps[farthest])
    return order
