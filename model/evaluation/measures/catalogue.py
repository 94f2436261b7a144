"""All measures, and all of them of one video. `docs/release.md` has the rule of each.

Belongs here: the list. Not here: a measure.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from model.evaluation.measures import clip, faces_over_time, facesim, motion
from model.evaluation.measures.fid import Features, consisid_fid, face_features
from model.evaluation.measures.record import Absent, CaseVideo

FID = "fid"
MEASURES: Mapping[str, Callable[[CaseVideo], float]] = {
    "consisid_facesim_arc": facesim.consisid_arc,
    "consisid_facesim_cur": facesim.consisid_cur,
    "opens2v_facesim_arc": facesim.opens2v_arc,
    "opens2v_facesim_cur": facesim.opens2v_cur,
    "consisid_fid": consisid_fid,
    "clip_score": clip.clip_score,
    "consisid_clip_score": clip.consisid_clip_score,
    "multi_view_similarity": faces_over_time.multi_view_similarity,
    "temporal_consistency": faces_over_time.temporal_consistency,
    "clip_temporal_consistency": clip.clip_temporal_consistency,
    "pose_range_deg": faces_over_time.pose_range_deg,
    "yaw_reached_deg": faces_over_time.yaw_reached_deg,
    "motion_amplitude": motion.motion_amplitude,
    "motion_smoothness": motion.motion_smoothness,
    "lip_activity": faces_over_time.lip_activity,
    "lip_agreement": faces_over_time.lip_agreement,
}


class VideoMeasures(NamedTuple):
    """The measures of one video.

    Attributes:
        values: by the names of `MEASURES`, finite.
        absent: why a measure has no value; under `fid` why there are no features.
        features: what FID over all videos needs of this one.
    """

    values: dict[str, float]
    absent: dict[str, str]
    features: Features | None


def all_of(video: CaseVideo) -> VideoMeasures:
    """Every measure of one video."""
    values, absent, features = dict[str, float](), dict[str, str](), None
    for name, measure in MEASURES.items():
        try:
            values[name] = finite(measure(video))
        except Absent as reason:
            absent[name] = str(reason)
    try:
        features = face_features(video)
    except Absent as reason:
        absent[FID] = str(reason)
    return VideoMeasures(values, absent, features)


def finite(value: float) -> float:
    """The same value.

    Raises:
        Absent: it is infinite or not a number.
    """
    if not math.isfinite(value):
        raise Absent(f"it came out as {value}")
    return value
