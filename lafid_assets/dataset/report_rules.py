"""What the report says about how it was decided: rules with thresholds, models with licences, and what they cannot know.

Belongs here: decided tables -> lines of text. Not here: the page (`report_page`), deciding.
"""

from statistics import median

import polars as pl

from lafid_assets.constraints.policies import RULES, FacePolicy

DEMAND = {"min": "at least", "max": "at most", "above": "more than"}


def decided_by(decided: pl.DataFrame, face_clips: pl.DataFrame, dataset: pl.DataFrame) -> list[tuple[str, str]]:
    """What and how, a line each: face policies, sampling, engines, licences of the kept clips.

    Args:
        decided: rows of `pose_filtered_clips`.
        face_clips: rows of `face_clips`.
        dataset: rows of `lafid_dataset`.
    """
    policies = [FacePolicy.model_validate_json(text) for text in decided["policy_settings"].unique().sort()]
    return [
        *((f"face policy {policy.name}", _thresholds(policy)) for policy in policies),
        *((f"measured for {policy.name}", _sampling(decided, policy)) for policy in policies),
        *_counted(face_clips, pl.format("{} {}", "engine", "engine_version"), "engine_licence", "face engine"),
        *_counted(dataset, pl.col("source"), "licence", "kept from"),
    ]


def _thresholds(policy: FacePolicy) -> str:
    asked = [(rule.measure, DEMAND[rule.bound], rule.threshold_in(policy)) for rule in RULES]
    return ", ".join(f"{measure} {words} {figure:g}" for measure, words, figure in asked if figure is not None)


def _sampling(decided: pl.DataFrame, policy: FacePolicy) -> str:
    own = decided.filter(pl.col("policy") == policy.name)["frames"].drop_nulls().to_list()
    frames = f"{median(own):.0f} frames a clip (median)" if own else "no frame"
    text = f"{frames}, sampled evenly; ranges of pose run from percentile {policy.range_percentile:g} to its opposite"
    paper = "; the paper measures every frame, and that its three ranges are added is our reading of it"
    return text + (paper if policy.name.startswith("faithfulfaces") else "")


def _counted(rows: pl.DataFrame, what: pl.Expr, licence: str, heading: str) -> list[tuple[str, str]]:
    counted = rows.group_by(what=what, licence=licence).len().sort("what", "licence")
    return [(heading, f"{name} (licence: {terms}): {clips} clips") for name, terms, clips in counted.iter_rows()]
