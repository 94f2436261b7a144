"""`id_consistent_clips`: which clips show one person from beginning to end.

Belongs here: the asset. Not here: the judgement (`consistency`), its thresholds (`policies`).
"""

import dagster as dg

from lafid_assets.identity.consistency import FACE_COLUMNS, FRAME_COLUMNS, decide_clips
from lafid_assets.identity.policies import ConsistencyPolicy
from lafid_assets.schemas import (
    FACE_EMBEDDINGS,
    FACE_FRAMES,
    FACE_INFO,
    FACES,
    ID_CONSISTENT_CLIPS,
    POLICY_SETTINGS,
    POSE_FILTERED_CLIPS,
    SIMILARITY_BY_POSE_GAP,
)
from lafid_assets.steps.step import Step
from lafid_assets.steps.step_run import Frames, Work
from resources.lake.lake import Lake

STEP = Step(
    writes=(ID_CONSISTENT_CLIPS, SIMILARITY_BY_POSE_GAP, POLICY_SETTINGS),
    reads=(POSE_FILTERED_CLIPS.name, FACE_INFO.name, FACE_EMBEDDINGS.name, FACE_FRAMES.name),
    group="curation",
    code_version="3",
    kinds=frozenset({"polars"}),
)


class IdConsistentClipsConfig(dg.Config, ConsistencyPolicy):
    """When a clip shows one person all along."""


@STEP.as_asset(deps=["pose_filtered_clips", "face_info"])
def id_consistent_clips(
    context: dg.AssetExecutionContext, config: IdConsistentClipsConfig, lake: dg.ResourceParam[Lake]
) -> dg.MaterializeResult:
    """Which clips show one person from beginning to end, given how far the leading face's pose changes.

    Speech and references come from these clips alone; training would mix two persons' faces without it.
    """

    def compute(shard: str) -> Frames:
        with lake.snapshot() as reader:
            clips = reader.read(POSE_FILTERED_CLIPS.name, shard, ["clip_id", "shard", "keep", "reason"])
            return decide_clips(
                clips, reader.read(FACES.name, shard, FACE_COLUMNS), reader.read(FACE_FRAMES.name, shard, FRAME_COLUMNS), config
            )

    work = Work(
        compute,
        clips_in=lambda shard: lake.read(POSE_FILTERED_CLIPS.name, shard, ["clip_id"])["clip_id"],
    )
    return STEP.materialize(context, config, lake, work)
