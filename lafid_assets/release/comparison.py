"""Two models on the same cases and seeds: how far apart they are, and whether that can be told.

Belongs here: rows of `evaluated_videos` and `evaluated_frames` -> differences with intervals and a verdict in words. Not here:
what an interval is (`model.evaluation.statistics`), what follows from it (`gates`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from lafid_assets.release.evaluation import PER_VIDEO
from model.evaluation.statistics import ENOUGH_PERSONS, Interval, paired_interval
from model.likeness import YAW_BINS

OVERALL = "pose_binned_similarity"
BINNED = tuple(f"score_{name}" for name in YAW_BINS[:-1])
_CASE = ["case_id", "seed"]


@dataclass(frozen=True)
class Difference:
    """The difference in one measure, ours minus theirs."""

    metric: str
    interval: Interval
    only_ours: int
    only_theirs: int
    """Videos that only one of the two has a value for."""
    verdict: str

    @property
    def told(self) -> str:
        """The difference and its interval in words."""
        value, low, high = self.interval.value, self.interval.low, self.interval.high
        if value is None:
            return "no pair"
        return f"{value:+.3f}" + ("" if low is None or high is None else f" ({low:+.3f} to {high:+.3f})")


def compare(
    videos: pl.DataFrame, frames: pl.DataFrame, ours: str, theirs: str, metrics: Sequence[str] = (OVERALL, *BINNED)
) -> list[Difference]:
    """Checkpoint against checkpoint on one bench; a metric is a column of `evaluated_videos`, or `score_<yaw bin>`."""
    return [_difference(values_of(metric, videos, frames), metric, ours, theirs) for metric in metrics]


def values_of(metric: str, videos: pl.DataFrame, frames: pl.DataFrame) -> pl.DataFrame:
    """A measure's value of each video that has one: `checkpoint_sha256`, `case_id`, `seed`, `identity_id`, `value`."""
    key = ["checkpoint_sha256", *_CASE]
    if metric in PER_VIDEO:
        return videos.select(*key, "identity_id", value=pl.col(metric)).drop_nulls("value")
    kind, _, bin_ = metric.partition("_")
    of_frames = {"score": "score", "likeness": "similarity"}[kind]
    inside = frames.filter((pl.col("yaw_bin") == bin_) | (pl.col("expression_bin") == bin_)).drop_nulls(of_frames)
    return inside.group_by(key).agg(value=pl.col(of_frames).mean()).join(videos.select(*key, "identity_id"), on=key)


def _difference(values: pl.DataFrame, metric: str, ours: str, theirs: str) -> Difference:
    own, other = (values.filter(checkpoint_sha256=sha).drop("checkpoint_sha256") for sha in (ours, theirs))
    pairs = own.join(other, on=_CASE, suffix="_theirs").sort(_CASE)
    only_ours, only_theirs = own.height - pairs.height, other.height - pairs.height
    interval = paired_interval(pairs["value"].to_list(), pairs["value_theirs"].to_list(), pairs["identity_id"].to_list())
    return Difference(metric, interval, only_ours, only_theirs, _verdict(interval, only_ours, only_theirs))


def _verdict(interval: Interval, only_ours: int, only_theirs: int) -> str:
    """A model must not win by having no value where it would be bad."""
    told = f"{interval.persons} person{'' if interval.persons == 1 else 's'}"
    if interval.low is None or interval.high is None or interval.persons < ENOUGH_PERSONS:
        return f"cannot be told ({told})"
    if interval.low > 0 and not only_theirs:
        return "better"
    if interval.high < 0 and not only_ours:
        return "worse"
    return f"cannot be told ({told})"
