"""`id_consistent_clips`: which clips show one person from beginning to end.

Belongs here: the asset. Not here: the judgement (`consistency`), its thresholds (`policies`).
"""

import dagster as dg

from lafid_assets.identity.consistency import decide_clips
from lafid_assets.identity.policies import ConsistencyPolicy
from lafid_assets.schemas import FACE_FRAMES, FACE_INFO, ID_CONSISTENT_CLIPS, POSE_FILTERED_CLIPS, SIMILARITY_BY_POSE_GAP
from lafid_assets.step import Step
from resources.shard_store import ShardStore
from resources.warehouse import Warehouse

STEP = Step(
    writes=(ID_CONSISTENT_CLIPS, SIMILARITY_BY_POSE_GAP),
    reads=(POSE_FILTERED_CLIPS.name, FACE_INFO.name, FACE_FRAMES.name),
    group="identity",
    code_version="2",
    kinds=frozenset({"polars"}),
)


class IdConsistentClipsConfig(dg.Config, ConsistencyPolicy):
    """When a clip shows one person all along."""


@dg.asset(**STEP.arguments(deps=["pose_filtered_clips", "face_info"]))
def id_consistent_clips(
    context: dg.AssetExecutionContext,
    config: IdConsistentClipsConfig,
    store: dg.ResourceParam[ShardStore],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult:
    """Identity consistency over time: does the leading face look like one person, given how its pose changes?"""
    shard = context.partition_key
    clips = store.read_table(POSE_FILTERED_CLIPS.name, shard)
    return STEP.materialize(
        context,
        config,
        store,
        warehouse,
        lambda: decide_clips(clips, store.read_table(FACE_INFO.name, shard), store.read_table(FACE_FRAMES.name, shard), config),
        clips_in=clips["clip_id"],
    )
