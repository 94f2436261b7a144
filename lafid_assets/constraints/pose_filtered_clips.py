"""`pose_filtered_clips`: which clips show one prominent face that turns.

Belongs here: the asset. Not here: measures, rules and thresholds (`measures`, `decision`, `policies`).
"""

import dagster as dg

from lafid_assets.constraints.decision import decide_clips
from lafid_assets.constraints.measures import FACE_COLUMNS, FRAME_COLUMNS
from lafid_assets.constraints.policies import FacePolicy
from lafid_assets.schemas import FACE_CLIPS, FACE_FRAMES, FACE_INFO, POSE_FILTERED_CLIPS, RAW_CLIPS
from lafid_assets.step import Step
from resources.shard_store import ShardStore
from resources.warehouse import Warehouse

STEP = Step(
    writes=(POSE_FILTERED_CLIPS,),
    reads=(RAW_CLIPS.name, FACE_CLIPS.name, FACE_FRAMES.name, FACE_INFO.name),
    group="constraints",
    code_version="2",
    kinds=frozenset({"polars"}),
)


class PoseFilteredClipsConfig(dg.Config, FacePolicy):
    """The face policy; moving a threshold never opens a video."""


@dg.asset(**STEP.arguments(deps=["raw_clips", "face_info"]))
def pose_filtered_clips(
    context: dg.AssetExecutionContext,
    config: PoseFilteredClipsConfig,
    store: dg.ResourceParam[ShardStore],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult:
    """Face constraints: count, proportion, sharpness and pose variation of the main face, with the decision and all reasons."""
    shard = context.partition_key
    face_clips = store.read_table(FACE_CLIPS.name, shard)
    return STEP.materialize(
        context,
        config,
        store,
        warehouse,
        lambda: {
            POSE_FILTERED_CLIPS.name: decide_clips(
                store.read_table(RAW_CLIPS.name, shard),
                face_clips,
                store.read_table(FACE_INFO.name, shard, columns=FACE_COLUMNS),
                store.read_table(FACE_FRAMES.name, shard, columns=FRAME_COLUMNS),
                config,
            )
        },
        clips_in=face_clips["clip_id"],
    )
