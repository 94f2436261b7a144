"""What the report says about how it was decided: rules with thresholds, models with licences, and what they cannot know.

Belongs here: decided tables -> lines of text. Not here: the page (`report_page`), deciding.
"""

from collections.abc import Mapping

import polars as pl

from lafid_assets.constraints.policies import RULES, FacePolicy

DEMAND = {"min": "at least", "max": "at most", "above": "more than"}


def decided_by(
    policies: pl.DataFrame, engines: pl.DataFrame, sources: pl.DataFrame, unjudged: Mapping[str, int]
) -> list[tuple[str, str]]:
    """What and how, a line each: face policies, what they could not judge, sampling, engines, licences of the kept clips.

    Args:
        policies, engines, sources: as `report_data.face_policies`, `face_engines` and `kept_sources` give them.
        unjudged: as `report_data.unjudged_rules` gives it.
    """
    read = [(FacePolicy.model_validate_json(text), frames) for _, text, frames in policies.iter_rows()]
    return [
        *((f"face policy {policy.name}", _thresholds(policy)) for policy, _ in read),
        *((f"measured for {policy.name}", _sampling(frames, policy)) for policy, frames in read),
        *(("not judged", f"{rule}: {clips} clips lack the measure and were kept") for rule, clips in unjudged.items()),
        *_lines(engines, "face engine"),
        *_lines(sources, "kept from"),
    ]


def _thresholds(policy: FacePolicy) -> str:
    asked = [(rule.measure, DEMAND[rule.bound], rule.threshold_in(policy)) for rule in RULES]
    return ", ".join(f"{measure} {words} {figure:g}" for measure, words, figure in asked if figure is not None)


def _sampling(frames_median: float | None, policy: FacePolicy) -> str:
    frames = "no frame" if frames_median is None else f"{frames_median:.0f} frames a clip (median)"
    text = f"{frames}, sampled evenly; ranges of pose run from percentile {policy.range_percentile:g} to its opposite"
    paper = "; the paper measures every frame, and that its three ranges are added is our reading of it"
    return text + (paper if policy.name.startswith("faithfulfaces") else "")


def _lines(counted: pl.DataFrame, heading: str) -> list[tuple[str, str]]:
    return [(heading, f"{name} (licence: {terms}): {clips} clips") for name, terms, clips in counted.iter_rows()]
