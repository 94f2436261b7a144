"""`pose_filtered_clips`: which clips show one prominent face that turns.

Belongs here: the asset. Not here: measures, rules and thresholds (`measures`, `decision`, `policies`).
"""

from typing import Any

import dagster as dg

from lafid_assets.constraints.decision import decide_clips
from lafid_assets.constraints.measures import FACE_COLUMNS, FRAME_COLUMNS
from lafid_assets.constraints.policies import FacePolicy
from lafid_assets.constraints.scan_limits import AuditFindings, UnseenClips, audit, unseen_by_policy
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

MAX_FALSE_REJECTION_RATE = 0.05
SCAN_COVERS_POLICY = dg.AssetCheckSpec(
    "scan_covers_policy",
    asset=POSE_FILTERED_CLIPS.name,
    description="The policy is no looser than the scan's margins: no clip was dropped unseen that it might keep.",
)
SCAN_FALSE_REJECTIONS = dg.AssetCheckSpec(
    "scan_false_rejections",
    asset=POSE_FILTERED_CLIPS.name,
    description=f"Of the audited clips the policy keeps at most {MAX_FALSE_REJECTION_RATE:.0%}: the scan drops what is hopeless.",
)


class PoseFilteredClipsConfig(dg.Config, FacePolicy):
    """The face policy; moving a threshold never opens a video."""


def _arguments() -> dict[str, Any]:
    arguments = STEP.arguments(deps=["raw_clips", "face_info"])
    return arguments | {"check_specs": [*arguments["check_specs"], SCAN_COVERS_POLICY, SCAN_FALSE_REJECTIONS]}


@dg.asset(**_arguments())
def pose_filtered_clips(
    context: dg.AssetExecutionContext,
    config: PoseFilteredClipsConfig,
    store: dg.ResourceParam[ShardStore],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult:
    """Face constraints: count, proportion, sharpness and pose variation of the main face, with the decision and all reasons."""
    shard = context.partition_key
    face_clips = store.read_table(FACE_CLIPS.name, shard)
    unseen = unseen_by_policy(config, face_clips)
    result = STEP.materialize(
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
        metadata=lambda frames: _scan_metadata(unseen, audit(face_clips, frames[POSE_FILTERED_CLIPS.name])),
    )
    return dg.MaterializeResult(metadata=result.metadata, check_results=[*result.check_results, *_scan_checks(result.metadata)])


def _scan_metadata(unseen: UnseenClips, findings: AuditFindings) -> dict[str, Any]:
    return {
        "clips_unseen_by_policy": unseen.count,
        "unseen_by_policy": str(unseen),
        "scan_audited": findings.audited,
        "scan_wrongly_dropped": findings.wrongly_dropped,
        **({} if findings.rate is None else {"scan_false_rejection_rate": findings.rate}),
    }


def _scan_checks(metadata: Any) -> list[dg.AssetCheckResult]:
    rate = metadata.get("scan_false_rejection_rate", 0.0)
    of_audited = f"{metadata['scan_wrongly_dropped']} of {metadata['scan_audited']} audited clips would be kept"
    return [
        dg.AssetCheckResult(
            check_name=SCAN_COVERS_POLICY.name,
            passed=metadata["clips_unseen_by_policy"] == 0,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"violations": metadata["clips_unseen_by_policy"], "first": metadata["unseen_by_policy"]},
        ),
        dg.AssetCheckResult(
            check_name=SCAN_FALSE_REJECTIONS.name,
            passed=rate <= MAX_FALSE_REJECTION_RATE,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"violations": metadata["scan_wrongly_dropped"], "first": of_audited},
        ),
    ]
