"""What the drawn faces are from frame to frame: as one another, as all views of the person, and turned how far.

Belongs here: measures of the faces that `similarity.measure_frames` found. Not here: similarity at the frame's own pose
(`model.evaluation.similarity`).
"""

import numpy as np
from numpy.typing import NDArray

from model.evaluation.measures.record import Absent, Measure, Sight

_NO_FACE = Absent("no drawn frame shows a face")


def _embeddings(sight: Sight) -> NDArray[np.float64]:
    """(T, D) of unit length; zeros, which resemble nothing, where a frame shows no face."""
    width = len(sight.video.person.gallery[0].embedding)
    return np.array([np.zeros(width) if face is None else face.embedding for face in sight.video.faces])


def _temporal(sight: Sight) -> float | Absent:
    if all(face is None for face in sight.video.faces):
        return _NO_FACE
    if len(sight.video.faces) < 2:
        return Absent("it takes two drawn frames")
    units = _embeddings(sight)
    return float((units[1:] * units[:-1]).sum(axis=1).mean())


def _multi_view(sight: Sight) -> float | Absent:
    if all(face is None for face in sight.video.faces):
        return _NO_FACE
    views = np.array([view.embedding for view in sight.video.person.gallery])
    return float((_embeddings(sight) @ views.T).max(axis=1).mean())


def _yaws(sight: Sight) -> NDArray[np.float64]:
    return np.array([face.yaw_deg for face in sight.video.faces if face is not None and face.yaw_deg is not None])


def _pose_range(sight: Sight) -> float | Absent:
    yaws = _yaws(sight)
    return float(np.subtract(*np.percentile(yaws, [95, 5]))) if len(yaws) else Absent("the engine told no pose")


def _yaw_reached(sight: Sight) -> float | Absent:
    yaws = _yaws(sight)
    return float(np.percentile(np.abs(yaws), 95)) if len(yaws) else Absent("the engine told no pose")


TEMPORAL_CONSISTENCY = Measure(
    "temporal_consistency",
    "cosine",
    True,
    (),
    "Cosine of neighbouring drawn frames' faces in the bench's engine, mean; 0 where one of the two shows none.",
    _temporal,
)
MULTI_VIEW_SIMILARITY = Measure(
    "multi_view_similarity",
    "cosine",
    True,
    (),
    "Mv2ID's multi-view consistency as its name reads (the formula is not published): the best cosine of each drawn face to any "
    "view of the gallery, mean; 0 where a frame shows none.",
    _multi_view,
)
POSE_RANGE = Measure("pose_range_deg", "degrees", None, (), "Yaw of the drawn faces, 95th minus 5th percentile.", _pose_range)
YAW_REACHED = Measure("yaw_reached_deg", "degrees", None, (), "|Yaw| of the drawn faces, 95th percentile.", _yaw_reached)
