"""Does the dataset keep about as many clips as its last versions did?

Belongs here: keep rates of versions and of the clips that are new in one -> judgement. Not here: how clips ended
(`dataset.versions`), the bounds' defaults (`bounds`).
"""

from math import sqrt
from typing import NamedTuple

import polars as pl

from lafid_assets.checks.bounds import CheckBounds
from lafid_assets.checks.judged import Judged, nothing_to_judge
from lafid_assets.dataset.versions import Facts
from lafid_assets.outcomes import KEPT
from lafid_assets.schemas import DATASET_OUTCOMES
from resources.lake.reader import Reader

STANDARD_ERRORS = 3.0


class NewClips(NamedTuple):
    """The clips that came in first with one version, and how many of them it keeps."""

    clips: int
    kept: int


def keep_rate_drift(versions: pl.DataFrame, standing: Facts, new: NewClips, bounds: CheckBounds) -> Judged:
    """The keep rate of a version, and of the clips that are new in it, against the median of the versions before.

    Args:
        versions: rows of `dataset_versions` in the order of their numbers.
        standing: the version that the dataset holds.
    """
    if not standing["clips_in"]:
        return nothing_to_judge("no clip has come in")
    keep_rate = standing["clips"] / standing["clips_in"]
    others = versions.filter((pl.col("number") != standing["number"]) & (pl.col("clips_in") > 0)).tail(bounds.versions_compared)
    figures: dict[str, float | int] = {"keep_rate": keep_rate, "clips_in": standing["clips_in"], "clips_new": new.clips}
    if new.clips:
        figures["keep_rate_of_new_clips"] = new.kept / new.clips
    if others.is_empty():
        return Judged(True, f"{keep_rate:.1%} of the clips are kept; nothing to compare with: it is the first version", figures)
    before = float((others["clips"] / others["clips_in"]).median())  # type: ignore[arg-type]
    within = _within(before, standing["clips_in"], bounds)
    figures |= {"keep_rate_before": before, "keep_rate_least": max(before - within, 0.0), "keep_rate_most": before + within}
    told = [f"{keep_rate:.1%} of the clips are kept, {before:.1%} in the {others.height} versions compared"]
    drifted = abs(keep_rate - before) > within
    if new.clips and standing["number"] > 1:
        told.append(f"{new.kept / new.clips:.1%} of the {new.clips} new ones")
        drifted |= abs(new.kept / new.clips - before) > _within(before, new.clips, bounds)
    if drifted and standing["settings_sha256"] != others["settings_sha256"][-1]:
        told.append("it was made under other settings: `lafid settings diff`, `lafid diff` tell which")
    return Judged(not drifted, "; ".join(told), figures)


def clips_new_in(reader: Reader, number: int) -> NewClips:
    """The clips whose first ending is that of a version. `number`: of the version, as in `dataset_versions`."""
    first = f"SELECT clip_id, min(since) AS since, arg_min(status, since) AS status FROM {DATASET_OUTCOMES.name} GROUP BY clip_id"
    counted = reader.sql(f"SELECT count(*), count(*) FILTER (status = '{KEPT}') FROM ({first}) WHERE since = {number}")
    return NewClips(*counted.row(0))


def _within(before: float, clips: int, bounds: CheckBounds) -> float:
    """How far a keep rate of so many clips may lie from `before`: the band, or chance where that is wider."""
    return max(bounds.keep_rate_drift * before, STANDARD_ERRORS * sqrt(before * (1 - before) / clips))
