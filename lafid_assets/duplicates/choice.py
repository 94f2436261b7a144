"""Which of several copies stays.

Belongs here: stored likenesses and policy -> `duplicate_of`. Not here: finding the copies (`finding`).
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import polars as pl

from lafid_assets.duplicates.policies import DuplicatePolicy
from lafid_assets.identity.policies import figure_for


def same_shots(pairs: pl.DataFrame, policy: DuplicatePolicy, engine: str) -> pl.DataFrame:
    """The pairs that are one shot.

    Args:
        pairs: rows of `duplicate_pairs`.

    Raises:
        EngineUncalibrated: the policy has no figure for the engine.
    """
    alike = figure_for(engine, policy.face_similarity_min, "face_similarity_min")
    return pairs.filter(
        (pl.col("picture_distance") <= policy.picture_distance_max)
        & (pl.col("pose_distance_deg") <= policy.pose_distance_max_deg)
        & (pl.col("pose_distance_deg") <= policy.pose_chance_share_max * pl.col("pose_chance_deg"))
        & (pl.col("face_similarity") >= alike)
        & (pl.col("shared_share") >= policy.shared_share_min)
    )


def choose(clips: pl.DataFrame, same: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Clip id to the row of `same` that rejects it, with `duplicate_of`; clips that stay are not in it.

    The best copy stays: the largest shorter side, then the longest, then the smallest id. A clip goes only for one that stays
    itself: two pieces of a worse recording, which share nothing, both stay.

    Args:
        clips: `clip_id`, `shorter_side_px`, `duration_s`.
        same: as `same_shots` gives it.
    """
    others: defaultdict[str, list[tuple[str, Mapping[str, Any]]]] = defaultdict(list)
    for row in same.iter_rows(named=True):
        others[row["clip_id_a"]].append((row["clip_id_b"], row))
        others[row["clip_id_b"]].append((row["clip_id_a"], row))
    ranked = clips.filter(pl.col("clip_id").is_in(list(others))).sort(
        -pl.col("shorter_side_px"), -pl.col("duration_s"), "clip_id", nulls_last=True
    )
    rank = {clip: place for place, clip in enumerate(ranked["clip_id"])}
    gone: dict[str, dict[str, Any]] = {}
    for clip in rank:
        better = [found for found in others[clip] if rank[found[0]] < rank[clip] and found[0] not in gone]
        if better:
            best, likeness = min(better, key=lambda found: rank[found[0]])
            gone[clip] = {**likeness, "duplicate_of": best}
    return gone
