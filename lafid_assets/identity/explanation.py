"""Why a clip counts as one person or not: the rule that decided, with measure and threshold.

Belongs here: one row of `id_consistent_clips` -> lines. Not here: deciding (`consistency`), thresholds (`policies`), the command.
"""

from collections.abc import Mapping
from typing import Any

from lafid_assets.constraints.explanation import RuleLine
from lafid_assets.identity.policies import ConsistencyPolicy, figure_for
from lafid_assets.outcomes import Reason


def explain_identity(row: Mapping[str, Any], engine: str, policy: ConsistencyPolicy) -> list[RuleLine]:
    """Both rules of the policy; none for a clip that was not judged.

    Args:
        row: of `id_consistent_clips`.
        engine: whose embeddings were compared.
    """
    embedded = row["embedded_frames"]
    if embedded is None:
        return []
    least = policy.min_embedded_frames
    lines = [RuleLine(Reason.IDENTITY_UNKNOWN, "embedded_frames", embedded, f"at least {least}", embedded < least)]
    if policy.name in ("mean", "minimum"):
        measure = "similarity_mean" if policy.name == "mean" else "similarity_min"
        demand = f"at least {figure_for(engine, policy.min_similarity, 'min_similarity'):g}"
    else:
        measure, demand = "outlier_share", f"at most {policy.max_outlier_share:g}"
    return [*lines, RuleLine(Reason.IDENTITY_CHANGE, measure, row[measure], demand, row["reason"] == Reason.IDENTITY_CHANGE)]
