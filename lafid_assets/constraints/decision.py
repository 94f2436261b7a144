"""The decision on a clip's faces: every rule that it breaks, in a fixed order, the first one named as the reason.

Belongs here: measures and policy -> keep and reasons. Not here: computing measures (`measures`).
"""

import polars as pl

from lafid_assets.constraints.measures import measure_clips
from lafid_assets.constraints.policies import FacePolicy
from lafid_assets.outcomes import Reason, Status
from lafid_assets.schemas import POSE_FILTERED_CLIPS


def decide_clips(face_clips: pl.DataFrame, faces: pl.DataFrame, frames: pl.DataFrame, policy: FacePolicy) -> pl.DataFrame:
    """A row for every clip of `face_clips`: its measures, all broken rules, `keep` and the reason."""
    measured = (
        face_clips.filter(pl.col("status") == Status.OK)
        .select("clip_id", "shard")
        .join(measure_clips(faces, frames, policy), on="clip_id", how="left")
    )
    judged = measured.with_columns(
        reasons=pl.concat_list(
            pl.when(broken).then(pl.lit(str(reason))) for reason, broken in _rules(policy).items()
        ).list.drop_nulls()
    ).with_columns(
        keep=pl.col("reasons").list.len() == 0,
        reason=pl.col("reasons").list.first(),
        detail=pl.lit(None, pl.String),
    )
    passed_over = face_clips.filter(pl.col("status") != Status.OK).select(
        "clip_id",
        "shard",
        keep=pl.lit(False),
        status=pl.lit(str(Status.SKIPPED)),
        reason=pl.lit(str(Reason.UPSTREAM)),
        detail=pl.format("face_info: {}", pl.col("reason")),
    )
    status = pl.when("keep").then(pl.lit(str(Status.OK))).otherwise(pl.lit(str(Status.REJECTED)))
    rows = pl.concat([judged.with_columns(status=status), passed_over], how="diagonal")
    return POSE_FILTERED_CLIPS.frame(rows.with_columns(policy=pl.lit(policy.name)).select(*POSE_FILTERED_CLIPS.dtypes))


def _rules(policy: FacePolicy) -> dict[Reason, pl.Expr]:
    """Reason to the condition that breaks the rule. A rule that cannot be judged for want of a measure is not broken.

    Small faces come before several: beside a small face, a false detection in the texture counts as prominent.
    """
    no_face = pl.col("face_frame_share") == 0
    rules = {
        Reason.NO_FACE: no_face,
        Reason.FACE_TOO_RARE: ~no_face & (pl.col("face_frame_share") < policy.min_face_frame_share),
        Reason.FACE_TOO_SMALL: pl.col("face_height_share") < policy.min_face_height_share,
        Reason.SEVERAL_FACES: pl.col("several_faces_share") > policy.max_several_faces_share,
        Reason.FACE_BLURRED: pl.col("sharpness") < policy.min_sharpness,
        Reason.POSE_UNKNOWN: ~no_face & (pl.col("posed_frames") < policy.min_posed_frames),
        Reason.POSE_VARIATION_LOW: (pl.col("posed_frames") >= policy.min_posed_frames)
        & (pl.col("pose_variation_deg") < policy.min_pose_variation_deg),
    }
    return {reason: broken.fill_null(False) for reason, broken in rules.items()}
