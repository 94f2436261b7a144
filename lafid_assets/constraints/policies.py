"""What a clip's faces must be like. Thresholds are ours unless a source is named; CoFE publishes none.

Belongs here: typed policies. Not here: computing the measures (`measures`).
"""

from pydantic import BaseModel, ConfigDict, Field


class FacePolicy(BaseModel):
    """CoFE's three face constraints (arXiv 2508.09476, data figure of v3): one prominent face, face proportion, pose variation.

    The 5 % tolerance follows ConsisID's and OpenS2V's data pipelines. FaithfulFaces (arXiv 2605.04702, section 3.4) asks for a
    pose variation of 120 degrees with 6DRepNet; the default here is what dlib, blind beyond 45 degrees of yaw, can see of that.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field("cofe", description="Name of the policy, written into every row")
    min_face_frame_share: float = Field(0.6, ge=0, le=1, description="Share of sampled frames that must show a face")
    prominent_area_ratio: float = Field(
        0.25, gt=0, le=1, description="A second face counts from this share of the largest one's area"
    )
    max_several_faces_share: float = Field(0.05, ge=0, le=1, description="Share of frames that may show a second prominent face")
    min_face_height_share: float = Field(0.18, ge=0, le=1, description="Median height of the main face / height of the frame")
    min_sharpness: float = Field(20.0, ge=0, description="Median variance of the Laplacian of the main face at 112 px")
    range_percentile: float = Field(5.0, ge=0, lt=50, description="Ranges run from this percentile to 100 minus it")
    min_posed_frames: int = Field(3, ge=1, description="Frames with a measurable pose that a range needs")
    min_pose_variation_deg: float = Field(45.0, ge=0, description="Sum of the ranges of yaw, pitch and roll")
