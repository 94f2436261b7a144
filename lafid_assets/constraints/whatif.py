"""What another face policy would decide, from stored measures alone; nothing is written and no video is opened.

Belongs here: two decisions side by side. Not here: the decision itself (`decision`), drawing (`figures`), the command.
"""

from dataclasses import dataclass

import polars as pl

from lafid_assets.constraints.decision import RAW_MEASURES, judge_clips
from lafid_assets.constraints.policies import FacePolicy
from lafid_assets.outcomes import Status

KEPT = "kept"
MEASURING_FIELDS = ("prominent_area_ratio", "range_percentile")
"""Fields of a policy that change what is measured; under another value of these the stored measures do not serve."""


@dataclass(frozen=True)
class WhatIf:
    """How a policy's decision compares with the one that stands.

    Attributes:
        kept_before, kept_after: clips.
        changed: `before`, `after` (a reason, or "kept") and `clips`, most clips first.
        after: every judged clip with its measures and what the policy says.
    """

    kept_before: int
    kept_after: int
    changed: pl.DataFrame
    after: pl.DataFrame


def needs_measuring(before: FacePolicy, after: FacePolicy) -> bool:
    """Whether `after` measures otherwise than `before`, so that the per-face scores must be read again."""
    return any(getattr(before, name) != getattr(after, name) for name in MEASURING_FIELDS)


def compare(decided: pl.DataFrame, measured: pl.DataFrame, policy: FacePolicy) -> WhatIf:
    """Judge the clips that the face constraints have judged once more.

    Args:
        decided: rows of `pose_filtered_clips` as they stand.
        measured: a row a clip with all measures of the rules (`with_raw_measures`), measured as `policy` wants.
    """
    judged = decided.filter(pl.col("status") != Status.SKIPPED).select("clip_id", before=_said("reason"))
    after = judge_clips(measured.join(judged, on="clip_id"), policy).with_columns(after=_said("reason"))
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
    )


def with_raw_measures(measures: pl.DataFrame, raw_clips: pl.DataFrame) -> pl.DataFrame:
    """The measures of `pose_filtered_clips` beside those that OpenHumanVid was released with."""
    return measures.drop("reasons", "keep", "status", "reason", "detail", strict=False).join(
        raw_clips.select("clip_id", *RAW_MEASURES), on="clip_id", how="left"
    )


def _said(reason: str) -> pl.Expr:
    return pl.col(reason).fill_null(KEPT)
