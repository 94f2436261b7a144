"""From which likeness on two clips are the same shot.

Belongs here: thresholds. Not here: measuring (`comparison`), who stays (`finding`).
"""

from pydantic import Field

from lafid_assets.duplicates.comparison import LEAST_SHARED, MOST_BITS_APART
from model.strict import StrictModel


class DuplicatePolicy(StrictModel):
    """All must hold. The figures are ours, from copies of real clips that were scaled, cropped, shortened and encoded anew
    (`benchmarks/duplicates.py`). They hold for mirrored copies, too."""

    picture_distance_max: float = Field(
        10.0, ge=0, le=MOST_BITS_APART, description="Median of the bits of 63 by which pictures of one moment may differ"
    )
    pose_distance_max_deg: float = Field(
        8.0, ge=0, le=180, description="80th percentile of the angles between the poses of one moment"
    )
    pose_chance_share_max: float = Field(
        0.5, ge=0, le=1, description="That angle / the angle at other offsets: where the head keeps still, poses prove nothing"
    )
    face_similarity_min: dict[str, float] = Field(
        {"dlib": 0.94, "insightface": 0.6}, description="Engine to the median cosine of the faces of one moment"
    )
    shared_share_min: float = Field(
        0.8, ge=LEAST_SHARED, le=1, description="Shared time / length of the shorter clip; clips that only overlap are two"
    )
