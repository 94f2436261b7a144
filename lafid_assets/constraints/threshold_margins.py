"""How narrowly a clip met or missed a rule: what a person should look at before moving a threshold.

Belongs here: a policy -> SQL for one figure a clip, of its stored measures. Not here: showing the clips.
"""

from lafid_assets.constraints.policies import RULES, FacePolicy
from lafid_assets.schemas import POSE_FILTERED_CLIPS
from resources.lake.duckdb_extensions import quoted


def miss_share(policy: FacePolicy) -> str:
    """SQL over rejected rows of `pose_filtered_clips`: the distance to the threshold as a share of it, of the rule that is missed
    by most. A threshold of 0 cannot be missed narrowly: its share is 1."""
    shares = []
    for rule in RULES:
        threshold = rule.threshold_in(policy)
        if threshold is not None and rule.measure in POSE_FILTERED_CLIPS.dtypes:
            missed = f"({rule.measure} - {threshold})" if rule.bound == "max" else f"({threshold} - {rule.measure})"
            share = f"{missed} / {threshold}" if threshold else "1.0"
            shares.append(f"CASE WHEN list_contains(reasons, {quoted(rule.reason)}) AND {missed} >= 0 THEN {share} END")
    return f"list_max([{', '.join(shares)}]::DOUBLE[])"


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
