"""How narrowly a clip met or missed a rule: what a person should look at before moving a threshold.

Belongs here: stored measures and policy -> one figure a clip. Not here: showing the clips.
"""

import polars as pl

from lafid_assets.constraints.policies import RULES, FacePolicy
from lafid_assets.outcomes import Status
from lafid_assets.schemas import POSE_FILTERED_CLIPS


def miss_shares(measured: pl.DataFrame, policy: FacePolicy) -> pl.DataFrame:
    """`clip_id` and `miss`: the distance to the threshold as a share of it, of the rule that is missed by most.

    Args:
        measured: rows of `pose_filtered_clips` with the measures of the rules; only rejected ones are answered. A threshold
            of 0 cannot be missed narrowly: its share is 1.
    """
    misses = []
    for rule in RULES:
        threshold = rule.threshold_in(policy)
        if threshold is None or rule.measure not in measured.columns:
            continue
        beyond = pl.col(rule.measure) - threshold
        missed = beyond if rule.bound == "max" else -beyond
        listed = pl.col("reasons").list.contains(str(rule.reason))
        share = missed / threshold if threshold else pl.lit(1.0)
        misses.append(pl.when(listed & (missed >= 0)).then(share))
    rejected = measured.filter(pl.col("status") == Status.REJECTED)
    return rejected.select("clip_id", miss=pl.max_horizontal(misses).cast(pl.Float64))


def spare_share(policy: FacePolicy) -> str:
    """SQL over rows of `pose_filtered_clips` that all rules let pass: the distance to the threshold as a share of it, of the rule
    that is met by least; NULL where no threshold can be met narrowly."""
    shares = []
    for rule in RULES:
        threshold = rule.threshold_in(policy)
        if threshold and rule.measure in POSE_FILTERED_CLIPS.dtypes:
            spare = f"({threshold} - {rule.measure})" if rule.bound == "max" else f"({rule.measure} - {threshold})"
            shares.append(f"CASE WHEN {spare} >= 0 THEN {spare} / {threshold} END")
    return f"list_min([{', '.join(shares)}]::DOUBLE[])"


def threshold_distance(policy: FacePolicy, measure: str) -> str:
    """SQL over rows of `pose_filtered_clips`: how far `measure` lies from the nearest threshold on it, on either side, as a share
    of it; NULL where the policy asks nothing of it.

    Args:
        measure: a column of that table.
    """
    figures = [rule.threshold_in(policy) for rule in RULES if rule.measure == measure]
    return f"list_min([{', '.join(f'abs({measure} - {figure}) / {figure}' for figure in figures if figure)}]::DOUBLE[])"
