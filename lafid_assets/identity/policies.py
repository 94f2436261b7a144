"""When two faces count as one person. All figures are ours and belong to an engine: different embeddings do not compare.

Dagster's config knows no models inside dictionaries, so figures by engine are plain there and typed when they are read.
Belongs here: typed policies. Not here: computing similarities (`consistency`, `clustering`).
"""

from collections.abc import Mapping
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

FROZEN = ConfigDict(frozen=True, extra="forbid")

GAP_EDGES_DEG = (0.0, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 75.0, 180.0)
"""Borders of the bins of the pose gap."""


class PoseGapFigures(BaseModel):
    """How alike two faces of one person are at a given angle between their poses, a figure a bin of `GAP_EDGES_DEG`."""

    model_config = FROZEN

    expected: tuple[float, ...] = Field(description="Median cosine")
    spread: tuple[float, ...] = Field(description="Distance from the median down to the 16th percentile")
    strangers: float = Field(gt=0, lt=1, description="Cosine that strangers reach: no residual excuses a frame below it")

    @model_validator(mode="after")
    def _one_figure_a_bin(self) -> "PoseGapFigures":
        bins = len(GAP_EDGES_DEG) - 1
        if (len(self.expected), len(self.spread)) != (bins, bins):
            raise ValueError(f"expected and spread need {bins} figures each, one a bin of the pose gap")
        return self


class ConsistencyPolicy(BaseModel):
    """One person all along. Four rules; all measures are stored whichever of them decides.

    `pose_gap` (default): a frame is an outlier when its cosine to the medoid lies more than `most_spreads_below` spreads below
    what its pose gap to the medoid lets expect. `medoid`: when it is below `min_similarity`. Both forgive `max_outlier_share`.
    `mean` and `minimum`: the clip's mean or lowest cosine to the medoid must reach `min_similarity`.
    """

    model_config = FROZEN

    name: Literal["pose_gap", "medoid", "mean", "minimum"] = Field("pose_gap", description="The rule, written into every row")
    min_embedded_frames: int = Field(3, ge=1, description="Frames with an embedding that a judgement needs")
    min_similarity: dict[str, float] = Field(
        {"dlib": 0.90, "insightface": 0.35}, description="Engine to the cosine that medoid, mean and minimum ask for"
    )
    most_spreads_below: float = Field(3.0, gt=0, description="pose_gap: how far below the expected cosine a frame may lie")
    max_outlier_share: float = Field(0.15, ge=0, le=1, description="pose_gap, medoid: share of frames that may be outliers")
    shipped_weight: int = Field(
        500, ge=1, description="pose_gap: pairs of faces that the shipped figure of a bin counts for beside a shard's own pairs"
    )
    # Measured by us on 37 clips of one person each, 12 frames a clip, poses by landmarks; no threshold was fitted to a label.
    pose_gap: dict[str, dict[str, list[float]]] = Field(
        {
            "dlib": {
                "expected": [0.986, 0.981, 0.977, 0.974, 0.966, 0.957, 0.953, 0.952, 0.951, 0.950],
                "spread": [0.012, 0.012, 0.012, 0.014, 0.015, 0.016, 0.017, 0.017, 0.017, 0.017],
                "strangers": [0.90],
            },
            "insightface": {
                "expected": [0.90, 0.85, 0.815, 0.79, 0.725, 0.655, 0.61, 0.585, 0.56, 0.53],
                "spread": [0.085, 0.10, 0.11, 0.12, 0.12, 0.12, 0.12, 0.12, 0.12, 0.12],
                "strangers": [0.25],
            },
        },
        description="Engine to its shipped similarity by pose gap: the fields of PoseGapFigures, a figure a bin",
    )

    @model_validator(mode="after")
    def _figures_are_whole(self) -> "ConsistencyPolicy":
        for engine in self.pose_gap:
            self.gap_figures(engine)
        return self

    def gap_figures(self, engine: str) -> PoseGapFigures:
        """The engine's shipped figures.

        Raises:
            EngineUncalibrated: the policy has none for it.
        """
        figures = figure_for(engine, self.pose_gap, "pose_gap")
        strangers = figures.get("strangers", [])
        return PoseGapFigures.model_validate(figures | {"strangers": strangers[0] if strangers else None})


class ClusterFigures(BaseModel):
    """What an engine's embeddings of clips look like."""

    model_config = FROZEN

    strangers_mean: float = Field(description="Mean cosine of clips of different persons; used below 200 clips")
    strangers_spread: float = Field(gt=0, description="Its standard deviation")
    threshold_floor: float = Field(gt=0, lt=1, description="Lowest cosine that may make two groups one person")
    threshold_ceiling: float = Field(gt=0, lt=1, description="Highest cosine that may be asked for")
    edge_floor: float = Field(gt=0, lt=1, description="Pairs of clips are stored from this cosine on")
    least_similarity: float = Field(ge=-1, lt=1, description="Cap on the diameter: no two clips of a person less alike")

    @model_validator(mode="after")
    def _ordered(self) -> "ClusterFigures":
        if not self.least_similarity <= self.edge_floor <= self.threshold_floor <= self.threshold_ceiling:
            raise ValueError("least_similarity <= edge_floor <= threshold_floor <= threshold_ceiling must hold")
        return self


class ClusterPolicy(BaseModel):
    """The same person in several clips: groups of mutual neighbours whose mean directions are alike."""

    model_config = FROZEN

    neighbours: int = Field(20, ge=1, description="Nearest clips of a clip that may be the same person")
    false_links_per_clip: float = Field(
        0.001, gt=0, lt=1, description="Strangers above the threshold that a clip may meet among all others; sets the threshold"
    )
    figures: dict[str, dict[str, float]] = Field(
        {
            "dlib": {
                "strangers_mean": 0.864,
                "strangers_spread": 0.035,
                "threshold_floor": 0.95,
                "threshold_ceiling": 0.97,
                "edge_floor": 0.93,
                "least_similarity": 0.90,
            },
            # EER at 0.28 to 0.32 on frames; the strangers' p99 of 0.24 is 0.01 + 2.33 x 0.10.
            "insightface": {
                "strangers_mean": 0.01,
                "strangers_spread": 0.10,
                "threshold_floor": 0.32,
                "threshold_ceiling": 0.60,
                "edge_floor": 0.30,
                "least_similarity": 0.15,
            },
        },
        description="Engine to what its embeddings look like: the fields of ClusterFigures",
    )

    @model_validator(mode="after")
    def _figures_are_whole(self) -> "ClusterPolicy":
        for engine in self.figures:
            self.figures_for(engine)
        return self

    def figures_for(self, engine: str) -> ClusterFigures:
        """The engine's figures.

        Raises:
            EngineUncalibrated: the policy has none for it.
        """
        return ClusterFigures.model_validate(figure_for(engine, self.figures, "figures"))


class EngineUncalibrated(ValueError):
    """A policy has no figure for the engine that made the embeddings; the message names both and the remedy."""


T = TypeVar("T")


def figure_for(engine: str, figures: Mapping[str, T], field: str) -> T:
    """The engine's figure: that of its full name (`insightface/buffalo_l`: its embedder), else that of its kind (`insightface`).

    Raises:
        EngineUncalibrated: the policy has none for it.
    """
    for name in (engine, engine.partition("/")[0]):
        if name in figures:
            return figures[name]
    raise EngineUncalibrated(f"{field} has no figure for the engine {engine}: add one to the asset's config")
