"""When two faces count as one person. All figures are ours and belong to an engine: different embeddings do not compare.

Belongs here: typed policies. Not here: computing similarities (`similarity`, `clustering`).
"""

from pydantic import BaseModel, ConfigDict, Field

DLIB_FRAME_COSINE = 0.90
DLIB_CLIP_COSINE = 0.95


class ConsistencyPolicy(BaseModel):
    """One person all along: nearly every frame resembles the clip's medoid."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field("medoid", description="Name of the policy, written into every row")
    min_embedded_frames: int = Field(3, ge=1, description="Frames with an embedding that a judgement needs")
    min_similarity: dict[str, float] = Field(
        {"dlib": DLIB_FRAME_COSINE}, description="Engine to the cosine from which a frame resembles the medoid"
    )
    max_outlier_share: float = Field(0.15, ge=0, le=1, description="Share of frames that may fall below it")


class ClusterPolicy(BaseModel):
    """The same person in several clips: centroids that are each other's neighbours."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_similarity: dict[str, float] = Field(
        {"dlib": DLIB_CLIP_COSINE}, description="Engine to the cosine from which two clips show one person"
    )


class EngineUncalibrated(ValueError):
    """A policy has no figure for the engine that made the embeddings; the message names both and the remedy."""


def similarity_for(engine: str, figures: dict[str, float], field: str) -> float:
    """The engine's figure.

    Raises:
        EngineUncalibrated: the policy has none for it.
    """
    if engine not in figures:
        raise EngineUncalibrated(f"{field} has no figure for the engine {engine}: add one to the asset's config")
    return figures[engine]
