"""All measures, and all of them of one video.

Belongs here: the list. Not here: a measure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model.evaluation.measures.clip import CLIP_SCORE, CLIP_TEMPORAL_CONSISTENCY, CONSISID_CLIP_SCORE
from model.evaluation.measures.faces_over_time import MULTI_VIEW_SIMILARITY, POSE_RANGE, TEMPORAL_CONSISTENCY, YAW_REACHED
from model.evaluation.measures.facesim import FACESIM
from model.evaluation.measures.fid import CONSISID_FID, Features, face_features, fid
from model.evaluation.measures.lips import LIP_ACTIVITY, LIP_AGREEMENT
from model.evaluation.measures.motion import MOTION_AMPLITUDE, MOTION_SMOOTHNESS
from model.evaluation.measures.networks import Networks
from model.evaluation.measures.record import Absent, DrawnVideo, Measure, Sight

MEASURES: tuple[Measure, ...] = (
    *FACESIM,
    CONSISID_FID,
    CLIP_SCORE,
    CONSISID_CLIP_SCORE,
    MULTI_VIEW_SIMILARITY,
    TEMPORAL_CONSISTENCY,
    CLIP_TEMPORAL_CONSISTENCY,
    POSE_RANGE,
    YAW_REACHED,
    MOTION_AMPLITUDE,
    MOTION_SMOOTHNESS,
    LIP_ACTIVITY,
    LIP_AGREEMENT,
)


@dataclass(frozen=True, eq=False)
class VideoMeasures:
    """Of one video."""

    values: dict[str, float | Absent]
    """By the names of `MEASURES`; what has a value is finite."""
    features: Features | Absent
    """What `over_all` needs of it."""


def all_of(video: DrawnVideo, networks: Networks) -> VideoMeasures:
    """Every measure of one video; each frame's face is looked for once."""
    sight = Sight(video, networks)
    values = {measure.name: _finite(measure.compute(sight)) for measure in MEASURES}
    return VideoMeasures(values, face_features(sight))


def over_all(features: Sequence[Features | Absent], real: Features | Absent) -> dict[str, float | Absent]:
    """The measures of all videos together.

    Args:
        features: of each video.
        real: of the bench's own pictures (`fid.picture_features`).
    """
    lacking = [of for of in (real, *features) if isinstance(of, Absent)]
    if lacking or isinstance(real, Absent):
        return {"fid": lacking[0]}
    return {"fid": _finite(fid([of for of in features if not isinstance(of, Absent)], real))}


def _finite(value: float | Absent) -> float | Absent:
    if isinstance(value, Absent) or np.isfinite(value):
        return value
    return Absent(f"it came out as {value}")
