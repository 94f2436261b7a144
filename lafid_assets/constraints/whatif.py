"""What another face policy would decide, from stored measures alone; nothing is written and no video is opened.

Belongs here: two decisions side by side. Not here: the decision itself (`decision`), drawing (`figures`), the command.
"""

from dataclasses import dataclass

import polars as pl

from lafid_assets.constraints.decision import CLIP_MEASURES, judge_clips
from lafid_assets.constraints.measures import frames_with_several, pose_ranges
from lafid_assets.constraints.policies import RULES, FacePolicy, Rule
from lafid_assets.outcomes import KEPT, Status

DECIDED = ("reasons", "unjudged", "keep", "status", "reason", "detail")


@dataclass(frozen=True)
class WhatIf:
    """How a policy's decision compares with the one that stands.

    Attributes:
        kept_before, kept_after: clips.
        changed: `before`, `after` (a reason, or "kept") and `clips`, most clips first.
        after: every judged clip with its measures and what the policy says.
        unjudged: rule to how many of the kept clips lack all measures that it asks for.
    """

    kept_before: int
    kept_after: int
    changed: pl.DataFrame
    after: pl.DataFrame
    unjudged: dict[str, int]


def turns_otherwise(before: FacePolicy, after: FacePolicy) -> bool:
    """Whether `after` measures ranges of pose otherwise, so that the stored ones do not serve."""
    return before.range_percentile != after.range_percentile


def counts_otherwise(before: FacePolicy, after: FacePolicy) -> bool:
    """Whether `after` counts second faces otherwise, so that the stored share does not serve."""
    return before.prominent_area_ratio != after.prominent_area_ratio


def clip_measures(*policies: FacePolicy) -> list[str]:
    """What rules of the policies read of `picture_measures`, which `pose_filtered_clips` does not repeat."""
    asked = {rule.measure for rule in RULES for policy in policies if rule.threshold_in(policy) is not None}
    return [name for name in CLIP_MEASURES if name in asked]


def with_ranges(decided: pl.DataFrame, main_faces: pl.DataFrame, policy: FacePolicy) -> pl.DataFrame:
    """`decided` with the ranges of pose as `policy` measures them.

    Args:
        main_faces: `clip_id` and the angles of the main faces.
    """
    ranges = pose_ranges(main_faces, policy)
    return decided.drop(set(ranges.columns) - {"clip_id"}, strict=False).join(ranges, on="clip_id", how="left")


def with_several_faces(decided: pl.DataFrame, faces: pl.DataFrame, policy: FacePolicy) -> pl.DataFrame:
    """`decided` with the share of frames that show a second face as `policy` counts it.

    Args:
        faces: as `measures.frames_with_several` wants them.
    """
    counted = decided.join(frames_with_several(faces, policy), on="clip_id", how="left")
    share = pl.col("several_faces").fill_null(0) / pl.col("frames")
    return counted.with_columns(several_faces_share=share).drop("several_faces")


def compare(decided: pl.DataFrame, policy: FacePolicy) -> WhatIf:
    """Judge the clips that the face constraints have judged once more.

    Args:
        decided: rows of `pose_filtered_clips` as they stand, measured as `policy` wants, with the clip measures it reads.
    """
    judged = decided.filter(pl.col("status") != Status.SKIPPED).with_columns(before=_said("reason"))
    after = judge_clips(judged.drop(DECIDED, strict=False), policy).with_columns(after=_said("reason"))
    changed = (
        after.filter(pl.col("before") != pl.col("after"))
        .group_by("before", "after")
        .agg(clips=pl.len())
        .sort("clips", "before", "after", descending=[True, False, False])
    )
    return WhatIf(
        kept_before=int((after["before"] == KEPT).sum()),
        kept_after=int((after["after"] == KEPT).sum()),
        changed=changed,
        after=after,
        unjudged=dict(after.filter("keep")["unjudged"].explode().drop_nulls().value_counts().sort("unjudged").iter_rows()),
    )


def telling_rule(before: FacePolicy, after: FacePolicy, changed: pl.DataFrame) -> Rule | None:
    """The rule whose threshold moved and whose reason most clips gain or lose; None where no threshold moved.

    Args:
        changed: as `WhatIf` has it.
    """
    touched = dict.fromkeys((rule.reason for rule in RULES), 0)
    for said_before, said_after, clips in changed.iter_rows():
        for reason in {said_before, said_after} & set(touched):
            touched[reason] += clips
    moved = [rule for rule in RULES if rule.threshold_in(before) != rule.threshold_in(after)]
    return max(moved, key=lambda rule: touched[rule.reason], default=None)


def _said(reason: str) -> pl.Expr:
    return pl.col(reason).fill_null(KEPT)
