"""What a clip's faces must be like: typed policies, and the rules that they are made of.

Belongs here: thresholds and the order of the rules. Not here: computing the measures (`measures`), applying the rules
(`decision`). Thresholds are ours unless a source is named; CoFE publishes none.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from lafid_assets.outcomes import Reason
from lafid_assets.shots.boundaries import CUT_SCORES, Kind
from model.strict import StrictModel


class PolicyUnusable(ValueError):
    """A policy cannot be read; the message names it and the remedy."""


class FacePolicy(StrictModel):
    """CoFE's three face constraints (arXiv 2508.09476, data figure of v3): one prominent face, face proportion, pose variation.

    A threshold of None switches its rule off. Beside the three, a clip is one shot in every policy: above 2.1 (hard) and 1.75
    (gradual) lay no uncut clip of some 40, see `benchmarks/shots.py`. The 5 % tolerance follows ConsisID's and OpenS2V's data
    pipelines. The default pose variation is what dlib, blind beyond 45 degrees of yaw, can see of FaithfulFaces' 120. The sum of
    ranges over-counts, because nods and tilts at other times add to it, and near profile pitch and roll trade places: hence the
    angle between two poses, too.
    """

    name: str = Field("cofe", description="Name of the policy, written into every row")
    hard_cut_score_max: float | None = Field(
        CUT_SCORES[Kind.HARD], ge=1, description="Score above which a clip has a cut between two frames"
    )
    gradual_cut_score_max: float | None = Field(
        CUT_SCORES[Kind.GRADUAL], ge=1, description="Score above which a clip has a gradual transition"
    )
    shots_in_file_max: int | None = Field(
        None, ge=1, description="Most shots that a clip's file may have: 1 rejects what was cut out of a file with cuts"
    )
    face_frame_share_min: float | None = Field(0.6, ge=0, le=1, description="Share of sampled frames that must show a face")
    prominent_area_ratio: float = Field(
        0.25, gt=0, le=1, description="A second face counts from this share of the largest one's area"
    )
    several_faces_share_max: float | None = Field(
        0.05, ge=0, le=1, description="Share of frames that may show a second prominent face"
    )
    faces_in_frame_max: int | None = Field(None, ge=1, description="Most faces of any size that one frame may show")
    face_height_share_min: float | None = Field(
        0.18, ge=0, le=1, description="Median height of the main face, hairline to chin / shorter side of the frame"
    )
    sharpness_min: float | None = Field(20.0, ge=0, description="Median variance of the Laplacian of the main face at 112 px")
    range_percentile: float = Field(5.0, ge=0, lt=50, description="Ranges run from this percentile to 100 minus it")
    posed_frames_min: int = Field(3, ge=1, description="Frames with a measurable pose that a range needs")
    posed_share_min: float | None = Field(
        0.5,
        ge=0,
        le=1,
        description="A head that does not turn enough counts as one whose pose is unknown where fewer of its frames have a pose",
    )
    pose_variation_min_deg: float | None = Field(45.0, ge=0, description="Sum of the ranges of yaw, pitch and roll")
    pose_spread_min_deg: float | None = Field(30.0, ge=0, le=180, description="Largest geodesic angle between two poses")
    luminance_min: float | None = Field(None, ge=0, le=255, description="Lowest luminance of a frame, OpenHumanVid's gate 10")
    luminance_max: float | None = Field(None, ge=0, le=255, description="Highest luminance of a frame, its gate 210")
    blur_min: float | None = Field(None, ge=0, le=1, description="Lowest share of sharp edges (CPBD), its gate 0.05")
    aesthetic_min: float | None = Field(None, ge=0, description="OpenHumanVid's aesthetic score; its gate is 4.8")
    technical_min: float | None = Field(None, ge=0, description="OpenHumanVid's technical score; its gate is 0.09")
    motion_min: float | None = Field(None, ge=0, description="OpenHumanVid's motion score; its gate is 0.5")
    motion_max: float | None = Field(None, ge=0, description="OpenHumanVid's motion score; its gate is 20")
    measured_motion_min: float | None = Field(None, ge=0, description="Our optical flow, where no motion score is released")
    measured_motion_max: float | None = Field(None, ge=0, description="Our optical flow, where no motion score is released")
    duration_min_s: float | None = Field(None, ge=0, description="Length of the clip; OpenHumanVid's gate is 2")
    duration_max_s: float | None = Field(None, ge=0, description="Length of the clip; OpenHumanVid's gate is 20")
    window_s: float = Field(
        5.0,
        gt=0,
        description="Of a longer clip so many seconds are used, those in which the head turns most; no preset takes more",
    )


OPENHUMANVID_GATES = {
    "luminance_min": 10.0,
    "luminance_max": 210.0,
    "blur_min": 0.05,
    "aesthetic_min": 4.8,
    "technical_min": 0.09,
    "motion_min": 0.5,
    "motion_max": 20.0,
    "measured_motion_min": 0.5,
    "measured_motion_max": 20.0,
    "duration_min_s": 2.0,
    "duration_max_s": 20.0,
}
"""The gates that OpenHumanVid was released with (its repository, assets/pipeline.png). That its figures for motion also suit our
flow is ours: which frames it compared, and at which size, is not published (`pictures.motion`)."""

POLICIES: dict[str, FacePolicy] = {
    "cofe": FacePolicy(),
    "cofe_with_released_gates": FacePolicy(name="cofe_with_released_gates", **OPENHUMANVID_GATES),
    # FaithfulFaces (arXiv 2605.04702, section 3.4): no frame with more than two faces, a face somewhere, 120 degrees. That the
    # three ranges are added and that 120 itself passes is our reading; the paper looks at every frame, we at the sampled ones.
    "faithfulfaces": FacePolicy(
        name="faithfulfaces",
        face_frame_share_min=None,
        several_faces_share_max=None,
        faces_in_frame_max=2,
        face_height_share_min=None,
        sharpness_min=None,
        range_percentile=0.0,
        posed_frames_min=1,
        pose_variation_min_deg=120.0,
        pose_spread_min_deg=None,
    ),
}


@dataclass(frozen=True)
class Rule:
    """One condition on one measure.

    Attributes:
        measure: a column of `pose_filtered_clips`, or of `picture_measures`.
        bound: "min" is broken below the threshold, "max" above it, "above" at it and below.
        threshold: a field of `FacePolicy`, or a figure that is part of the rule.
        unless: the rule is not judged where this reason already applies: it would say the same again.
        instead_of: the rule is judged only where one of this reason's is broken; it is the reason that is given in its place.
    """

    reason: Reason
    measure: str
    bound: Literal["min", "max", "above"]
    threshold: str | float
    unless: Reason | None = None
    instead_of: Reason | None = None

    def threshold_in(self, policy: FacePolicy) -> float | None:
        """The figure that counts under `policy`; None where the rule is off."""
        return getattr(policy, self.threshold) if isinstance(self.threshold, str) else self.threshold


# Small faces come before several: beside a small face, a false detection in the texture counts as prominent.
RULES: tuple[Rule, ...] = (
    Rule(Reason.DURATION_OUTSIDE, "duration_s", "min", "duration_min_s"),
    Rule(Reason.DURATION_OUTSIDE, "duration_s", "max", "duration_max_s"),
    Rule(Reason.LUMINANCE_OUTSIDE, "luminance_min", "min", "luminance_min"),
    Rule(Reason.LUMINANCE_OUTSIDE, "luminance_max", "max", "luminance_max"),
    Rule(Reason.PICTURE_BLURRED, "blur_min", "min", "blur_min"),
    Rule(Reason.AESTHETIC_LOW, "aesthetic", "min", "aesthetic_min"),
    Rule(Reason.TECHNICAL_LOW, "technical_score", "above", "technical_min"),
    Rule(Reason.MOTION_OUTSIDE, "global_motion", "min", "motion_min"),
    Rule(Reason.MOTION_OUTSIDE, "global_motion", "max", "motion_max"),
    Rule(Reason.MOTION_OUTSIDE, "measured_motion", "min", "measured_motion_min"),
    Rule(Reason.MOTION_OUTSIDE, "measured_motion", "max", "measured_motion_max"),
    Rule(Reason.CUT, "shots_in_file", "max", "shots_in_file_max"),
    Rule(Reason.CUT, "hard_cut_score", "max", "hard_cut_score_max"),
    Rule(Reason.CUT, "gradual_cut_score", "max", "gradual_cut_score_max"),
    Rule(Reason.NO_FACE, "face_frame_share", "above", 0.0),
    Rule(Reason.FACE_TOO_RARE, "face_frame_share", "min", "face_frame_share_min", unless=Reason.NO_FACE),
    Rule(Reason.FACE_TOO_SMALL, "face_height_share", "min", "face_height_share_min"),
    Rule(Reason.SEVERAL_FACES, "several_faces_share", "max", "several_faces_share_max"),
    Rule(Reason.SEVERAL_FACES, "faces_in_frame", "max", "faces_in_frame_max"),
    Rule(Reason.FACE_BLURRED, "sharpness", "min", "sharpness_min"),
    Rule(Reason.POSE_UNKNOWN, "posed_frames", "min", "posed_frames_min", unless=Reason.NO_FACE),
    Rule(Reason.POSE_UNKNOWN, "posed_share", "min", "posed_share_min", instead_of=Reason.POSE_VARIATION_LOW),
    Rule(Reason.POSE_VARIATION_LOW, "pose_variation_deg", "min", "pose_variation_min_deg", unless=Reason.POSE_UNKNOWN),
    Rule(Reason.POSE_VARIATION_LOW, "pose_spread_deg", "min", "pose_spread_min_deg", unless=Reason.POSE_UNKNOWN),
)


def load_policy(name_or_file: str) -> FacePolicy:
    """A shipped policy by name, or one's own from a TOML file of its fields (what it leaves out is as in `cofe`).

    Raises:
        PolicyUnusable: there is no such policy or file, or a field is wrong.
    """
    if name_or_file in POLICIES:
        return POLICIES[name_or_file]
    path = Path(name_or_file)
    if not path.is_file():
        raise PolicyUnusable(f"there is no policy {name_or_file!r}: choose {', '.join(POLICIES)}, or give a TOML file")
    return policy_of(path.read_bytes(), name_or_file)


def policy_of(content: bytes, path: str) -> FacePolicy:
    """The policy of a TOML file.

    Raises:
        PolicyUnusable: it is none, or a field is wrong.
    """
    try:
        return FacePolicy(**({"name": Path(path).stem} | tomllib.loads(content.decode())))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PolicyUnusable(f"{path} is no TOML: {error}") from error
    except ValidationError as error:
        raise PolicyUnusable(f"{path}: {first_fault(error)}") from error


def change_policy(policy: FacePolicy, changes: dict[str, str]) -> FacePolicy:
    """`policy` with some fields set from text, "none" switching a rule off; a changed policy bears `+` behind its name.

    Raises:
        PolicyUnusable: there is no such field, or the value does not fit.
    """
    unknown = sorted(set(changes) - set(FacePolicy.model_fields))
    if unknown:
        raise PolicyUnusable(f"a policy has no {unknown[0]}: it has {', '.join(FacePolicy.model_fields)}")
    values = {name: None if text.lower() == "none" else text for name, text in changes.items()}
    name = {} if "name" in values or not values else {"name": f"{policy.name}+"}
    try:
        return FacePolicy(**(policy.model_dump() | name | values))
    except ValidationError as error:
        raise PolicyUnusable(first_fault(error)) from error


def first_fault(error: ValidationError) -> str:
    """`field: what is wrong`, of the first of pydantic's findings."""
    fault = error.errors()[0]
    said = "there is no such line" if fault["type"] == "extra_forbidden" else fault["msg"]
    return f"{'.'.join(map(str, fault['loc']))}: {said}"
