"""Everything that decides the content of the face tables, as configuration.

Belongs here: the typed settings of scan and survey. Not here: what they are used for (`scan_verdict`, `survey`), thresholds on
stored scores (`constraints`).
"""

from pydantic import Field

from lafid_assets.shots.boundaries import CUT_SCORES, Kind
from model.strict import StrictModel
from resources.face_engine import EngineChoice


class ScanMargins(StrictModel):
    """How few looks a clip gets, and how far beyond a policy it must lie to be dropped after them.

    All figures are ours, and each is looser than that of the policy `cofe`. Other policies are not covered: `faithfulfaces` keeps
    two persons and faces of any size, which the scan drops. `constraints.scan_limits` counts what a policy cannot see.
    """

    scan_looks: int = Field(6, ge=3, le=60, description="Frames that the scan looks at, evenly spaced over the clip")
    scan_early_looks: int = Field(
        3, ge=2, description="From so many looks on, a clip is dropped or passed on once all of them say the same"
    )
    scan_side_px: dict[str, int] = Field(
        {"dlib": 640, "insightface": 320}, description="Engine to the longer side of what its detector sees in the scan"
    )
    scan_sure_score: dict[str, float] = Field(
        {"dlib": 0.0, "insightface": 0.5},
        description="Engine to the score from which its survey takes something for a face; the scan reports lower ones, too",
    )
    scan_agreement: float = Field(
        0.75, gt=0.5, le=1, description="Share of the looks with a face that must show several, or one far too small"
    )
    scan_prominent_area_ratio: float = Field(
        0.5, gt=0, le=1, description="A second face counts in the scan from this share of the largest one's area"
    )
    scan_prominent_score_ratio: float = Field(
        0.5, ge=0, le=1, description="... and from this share of the largest one's detector score"
    )
    scan_min_face_height_share: float = Field(
        0.10, ge=0, le=1, description="Far too small: height of the face, hairline to chin / shorter side of the frame"
    )
    scan_max_still_change: float = Field(
        2.0, ge=0, description="Static: no cell of a 32 x 18 luma thumbnail changes by more grey levels over the whole clip"
    )
    scan_min_pose_variation_deg: float = Field(
        20.0, ge=0, description="Far below any turn: sum of the ranges of coarse yaw, pitch and roll over the looks"
    )
    scan_min_pose_spread_deg: float = Field(
        15.0,
        ge=0,
        description="The same: largest angle between two coarse poses",
    )


class AnalysisSettings(EngineChoice, ScanMargins):
    """What decides the content of the face tables: changing any of it analyses the clips again."""

    rate_hz: float = Field(4.0, gt=0, le=60, description="Frames looked at per second of clip in the survey")
    max_frames: int = Field(120, ge=1, description="Frames looked at per clip at most in the survey, spread over all of it")
    scan: bool = Field(True, description="Drop hopeless clips after a few looks; off: every clip is surveyed")
    split_hard_score: float = Field(
        CUT_SCORES[Kind.HARD], ge=1, description="Score above which a hard cut makes two clips of a file"
    )
    split_gradual_score: float = Field(CUT_SCORES[Kind.GRADUAL], ge=1, description="Score above which a gradual transition does")
    searched_from_s: float = Field(
        30.0, ge=0, description="Files of so many seconds are searched for cuts before all else; shorter ones in the survey"
    )
    piece_min_s: float = Field(1.0, ge=0, description="Shots that are shorter than this are counted and not looked at")
    audit_share: float = Field(0.02, ge=0, le=1, description="Share of dropped clips that are surveyed all the same")
    audit_seed: int = Field(0, ge=0, description="Another seed audits other clips")
    track_min_overlap: float = Field(
        0.3, gt=0, le=1, description="Intersection over union that links faces of neighbouring frames"
    )
    track_min_cosine: dict[str, float] = Field(
        {"dlib": 0.85, "insightface": 0.25}, description="Engine to the cosine below which overlapping faces are not one track"
    )
    track_rejoin_cosine: dict[str, float] = Field(
        {"dlib": 0.94, "insightface": 0.45}, description="Engine to the cosine from which faces far apart are one track"
    )

    @property
    def cut_scores(self) -> dict[Kind, float]:
        """Kind of boundary to the score above which it is a cut."""
        return {Kind.HARD: self.split_hard_score, Kind.GRADUAL: self.split_gradual_score}

    @property
    def engine_choice(self) -> EngineChoice:
        """The part that names engine and models."""
        return EngineChoice(**self.model_dump(include=set(EngineChoice.model_fields)))

    @property
    def scan_margins(self) -> ScanMargins | None:
        """The part that the scan reads; None when it is off."""
        return ScanMargins(**self.model_dump(include=set(ScanMargins.model_fields))) if self.scan else None


def family(engine_name: str) -> str:
    """What figures belong to: "insightface" of "insightface/buffalo_l"."""
    return engine_name.partition("/")[0]
