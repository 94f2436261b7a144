"""`pose_filtered_clips`: which clips show one prominent face that turns.

Belongs here: the asset. Not here: measures, rules and thresholds (`measures`, `decision`, `policies`).
"""

from typing import Any

import dagster as dg

from lafid_assets import schemas
from lafid_assets.constraints.decision import CLIP_MEASURES, CUT_MEASURES, decide_clips, policy_row, released_otherwise
from lafid_assets.constraints.measures import FACE_COLUMNS, FRAME_COLUMNS
from lafid_assets.constraints.policies import FacePolicy
from lafid_assets.constraints.scan_limits import AuditFindings, UnseenClips, audit, unseen_by_policy
from lafid_assets.policy_settings import all_settings
from lafid_assets.steps.step import Step
from lafid_assets.steps.step_run import Finding, Frames, Work
from resources.lake.lake import Lake

MAX_FALSE_REJECTION_RATE = 0.05
SCAN_COVERS_POLICY = dg.AssetCheckSpec(
    "scan_covers_policy",
    asset=schemas.POSE_FILTERED_CLIPS.name,
    description="The policy is no looser than the scan's margins: no clip was dropped unseen that it might keep.",
)
SCAN_FALSE_REJECTIONS = dg.AssetCheckSpec(
    "scan_false_rejections",
    asset=schemas.POSE_FILTERED_CLIPS.name,
    description=f"Of the audited clips the policy keeps at most {MAX_FALSE_REJECTION_RATE:.0%}: the scan drops what is hopeless.",
)
STEP = Step(
    writes=(schemas.POSE_FILTERED_CLIPS, schemas.POLICY_SETTINGS),
    reads=(*schemas.FOOTAGE_TABLES, schemas.FACE_CLIPS.name, schemas.FACE_FRAMES.name, schemas.FACE_INFO.name),
    group="curation",
    code_version="6",
    kinds=frozenset({"polars"}),
    unsettled=released_otherwise,
    later_checks={check.name: check for check in (SCAN_COVERS_POLICY, SCAN_FALSE_REJECTIONS)},
)


class PoseFilteredClipsConfig(dg.Config, FacePolicy):
    """The face policy; moving a threshold never opens a video."""


@STEP.as_asset(deps=["raw_clips", "face_info"])
def pose_filtered_clips(
    context: dg.AssetExecutionContext, config: PoseFilteredClipsConfig, lake: dg.ResourceParam[Lake]
) -> dg.MaterializeResult:
    """Which clips show one prominent, sharp face that turns: measures, the decision, and every rule that a clip breaks.

    The data team tunes the policy here without opening a video; only kept clips go on to identity and speech.
    """

    def compute(shard: str) -> Frames:
        with lake.snapshot() as reader:
            decided = decide_clips(
                reader.read(schemas.PICTURE_MEASURES.name, shard, ["clip_id", *CLIP_MEASURES]),
                reader.read(schemas.FACE_CLIPS.name, shard, ["clip_id", "shard", "status", "reason", *CUT_MEASURES]),
                reader.read(schemas.FACE_INFO.name, shard, FACE_COLUMNS),
                reader.read(schemas.FACE_FRAMES.name, shard, FRAME_COLUMNS),
                config,
            )
        return {schemas.POSE_FILTERED_CLIPS.name: decided, schemas.POLICY_SETTINGS.name: policy_row(config)[1]}

    def of_scan(shard: str, frames: Frames) -> tuple[UnseenClips, AuditFindings]:
        with lake.snapshot() as reader:
            columns = ["clip_id", "status", "tier", "scan_verdict", "scan_margins_sha256", "audited"]
            face_clips, settings = reader.read(schemas.FACE_CLIPS.name, shard, columns), all_settings(reader)
        return unseen_by_policy(config, face_clips, settings), audit(face_clips, frames[schemas.POSE_FILTERED_CLIPS.name])

    work = Work(
        compute,
        clips_in=lambda shard: lake.read(schemas.FACE_CLIPS.name, shard, ["clip_id"])["clip_id"],
        findings=lambda shard, frames: _findings(*of_scan(shard, frames)),
        metadata=lambda shard, frames: _metadata(*of_scan(shard, frames)),
    )
    return STEP.materialize(context, config, lake, work)


def _findings(unseen: UnseenClips, audited: AuditFindings) -> dict[str, Finding]:
    too_many = (audited.rate or 0.0) > MAX_FALSE_REJECTION_RATE
    of_audited = f"{audited.wrongly_dropped} of {audited.audited} audited clips would be kept"
    return {
        SCAN_COVERS_POLICY.name: Finding(unseen.count, str(unseen)),
        SCAN_FALSE_REJECTIONS.name: Finding(audited.wrongly_dropped if too_many else 0, of_audited),
    }


def _metadata(unseen: UnseenClips, audited: AuditFindings) -> dict[str, Any]:
    return {
        "clips_unseen_by_policy": unseen.count,
        "unseen_by_policy": str(unseen),
        "scan_audited": audited.audited,
        "scan_wrongly_dropped": audited.wrongly_dropped,
        **({} if audited.rate is None else {"audit_rate": audited.rate}),
    }
