"""The decision on a clip's faces: every rule that it breaks, in a fixed order, the first one named as the reason.

Belongs here: measures and policy -> keep and reasons. Not here: computing measures (`measures`), the rules (`policies`).
"""

from collections.abc import Mapping

import polars as pl

from lafid_assets.constraints.measures import measure_clips
from lafid_assets.constraints.policies import RULES, FacePolicy, Rule
from lafid_assets.constraints.window import clip_windows
from lafid_assets.outcomes import Reason, Status
from lafid_assets.policy_settings import settings_row
from lafid_assets.schemas import PICTURE_MEASURES, POSE_FILTERED_CLIPS
from resources.lake.duckdb_extensions import quoted

TOLD_MEASURES = (
    *("luminance_min", "luminance_max", "blur_min"),
    *("aesthetic", "technical_score", "global_motion", "measured_motion"),
)
"""What the rules read of what is released, or measured where nothing was."""
CLIP_MEASURES = (*TOLD_MEASURES, "duration_s", "shots_in_file")
"""What the rules read of `picture_measures`."""
CUT_MEASURES = ("hard_cut_score", "gradual_cut_score")
"""What the rules read of `face_clips`."""

SIGNS = {"min": "<", "max": ">", "above": "<="}
"""How a measure stands to the threshold of a rule that it breaks."""


def decide_clips(
    clip_measures: pl.DataFrame, face_clips: pl.DataFrame, faces: pl.DataFrame, frames: pl.DataFrame, policy: FacePolicy
) -> pl.DataFrame:
    """A row for every clip of `face_clips`: its measures, all broken rules, `keep`, the reason, and of a kept one its window.

    Args:
        clip_measures: rows of `picture_measures`, of which `clip_id` and `CLIP_MEASURES` are read.
        face_clips: rows of `face_clips`.
        faces, frames: rows of `face_info` and `face_frames`, as `measures.measure_clips` wants them.
    """
    looked_at = face_clips.filter(pl.col("status") == Status.OK).select("clip_id", "shard", *CUT_MEASURES)
    measured = looked_at.join(measure_clips(faces, frames, policy), on="clip_id", how="left").join(
        clip_measures.select("clip_id", *CLIP_MEASURES), on="clip_id", how="left"
    )
    passed_over = face_clips.filter(pl.col("status") != Status.OK).select(
        "clip_id",
        "shard",
        keep=pl.lit(False),
        status=pl.lit(str(Status.SKIPPED)),
        reason=pl.lit(str(Reason.UPSTREAM)),
        detail=pl.format("face_info: {}", pl.col("reason")),
    )
    rows = pl.concat([judge_clips(measured, policy), passed_over], how="diagonal")
    windows = clip_windows(rows.filter("keep"), faces, frames, policy.window_s)
    decided_by = {"policy": pl.lit(policy.name), "policy_sha256": pl.lit(policy_row(policy)[0])}
    rows = rows.join(windows, on="clip_id", how="left").with_columns(**decided_by)
    return POSE_FILTERED_CLIPS.frame(rows.select(*POSE_FILTERED_CLIPS.dtypes))


def policy_row(policy: FacePolicy) -> tuple[str, pl.DataFrame]:
    """The policy's hash and its row of `policy_settings`."""
    return settings_row(FacePolicy(**policy.model_dump()).model_dump_json())


def judge_clips(measured: pl.DataFrame, policy: FacePolicy) -> pl.DataFrame:
    """`measured` with `reasons`, `unjudged`, `keep`, `status`, `reason` and `detail` as `policy` decides, by
    the measures alone.

    Args:
        measured: a row a clip with the measures that `policies.RULES` name.
    """
    active = {rule: rule.threshold_in(policy) for rule in RULES}
    broken: dict[Reason, list[pl.Expr]] = {}
    for rule, threshold in active.items():
        if threshold is not None:
            broken.setdefault(rule.reason, []).append(_is_broken(rule, threshold, broken, active))
    lacking: dict[Reason, list[pl.Expr]] = {}
    for rule, threshold in active.items():
        if threshold is not None:
            lacking.setdefault(rule.reason, []).append(pl.col(rule.measure).is_null())
    return (
        measured.with_columns(
            reasons=_listed({reason: pl.any_horizontal(parts) for reason, parts in broken.items()}),
            unjudged=_listed({reason: pl.all_horizontal(parts) for reason, parts in lacking.items()}),
        )
        .with_columns(keep=pl.col("reasons").list.len() == 0, reason=pl.col("reasons").list.first())
        .with_columns(
            status=pl.when("keep").then(pl.lit(str(Status.OK))).otherwise(pl.lit(str(Status.REJECTED))),
            detail=pl.lit(None, pl.String),
        )
    )


def released_otherwise(policy: FacePolicy) -> str | None:
    """SQL that lists, as `shard`, the shards in which a rule on what may be released would say something else than it did.

    Released measures belong to files, of which clips get new ones without being changed. None: the policy has no such rule.
    """
    broken: dict[Reason, list[str]] = {}
    lacking: dict[Reason, list[str]] = {}
    for rule in RULES:
        threshold = rule.threshold_in(policy)
        if threshold is not None and rule.measure in TOLD_MEASURES:
            fails = f"known.{rule.measure} {SIGNS[rule.bound]} {quoted(str(threshold))}::DOUBLE"
            broken.setdefault(rule.reason, []).append(f"coalesce({fails}, false)")
            lacking.setdefault(rule.reason, []).append(f"known.{rule.measure} IS NULL")
    told_otherwise = [
        f"list_contains({column}, {quoted(reason)}) <> ({how.join(parts)})"
        for column, how, listed in (("reasons", " OR ", broken), ("unjudged", " AND ", lacking))
        for reason, parts in listed.items()
    ]
    return (
        f"SELECT shard FROM {POSE_FILTERED_CLIPS.name} JOIN {PICTURE_MEASURES.name} known USING (shard, clip_id) "
        f"WHERE reasons IS NOT NULL AND ({' OR '.join(told_otherwise)})"
        if told_otherwise
        else None
    )


def _listed(said: Mapping[Reason, pl.Expr]) -> pl.Expr:
    """The reasons for which an expression holds, in their order."""
    return pl.concat_list(pl.when(holds).then(pl.lit(str(reason))) for reason, holds in said.items()).list.drop_nulls()


def _is_broken(rule: Rule, threshold: float, before: dict[Reason, list[pl.Expr]], active: Mapping[Rule, float | None]) -> pl.Expr:
    """A rule that cannot be judged for want of a measure is not broken."""
    fails = _fails(rule, threshold)
    if rule.unless in before:
        fails &= ~pl.any_horizontal(before[rule.unless])
    if rule.instead_of is not None:
        told = [
            _fails(other, figure) for other, figure in active.items() if other.reason == rule.instead_of and figure is not None
        ]
        fails &= pl.any_horizontal([pl.lit(False), *told])
    return fails.fill_null(False)


def _fails(rule: Rule, threshold: float) -> pl.Expr:
    measure = pl.col(rule.measure)
    return {"min": measure < threshold, "max": measure > threshold, "above": measure <= threshold}[rule.bound]
