"""Marks as labels: which clips are good and bad as a measure is concerned, and how many marks agree with what is decided today.

Belongs here: marks -> labels and counts. Not here: the threshold curve (`constraints.calibration`), writing marks (`marks`).

A mark says whether a clip should be kept. One that should be is good by every measure. One that should not be is bad by the
measure of the fault that was named, and says nothing of others.
"""

from collections.abc import Collection
from dataclasses import dataclass

import polars as pl

from lafid_assets.constraints.calibration import LabelsUnusable
from lafid_assets.schemas.review import DECIDED, RIGHT

LEAST_LABELS = 10
"""Fewer tell nothing: the best of their thresholds is chance."""


@dataclass(frozen=True)
class MarkedClips:
    """What marks say about one measure.

    Attributes:
        labels: `clip_id` and `good`, as `constraints.calibration.calibrate` takes them.
        markers: how many persons marked.
        decided: marked clips that are decided today, and on which the marks agree among themselves; `agreeing`: of these, those
            that are decided as the marks say.
        changed: of these, those whose decision has changed since.
        other_content: marks about a file that has changed, or is gone.
        no_fault: clips that should not be kept, without a named fault.
        other_fault: clips that should not be kept for a fault of another measure.
        contested: clips on which markers disagree.
    """

    labels: pl.DataFrame
    markers: int
    decided: int
    agreeing: int
    changed: int
    other_content: int
    no_fault: int
    other_fault: int
    contested: int


def labels_of_marks(marks: pl.DataFrame, contents: pl.DataFrame, now: pl.DataFrame, faults: Collection[str]) -> MarkedClips:
    """What the marks say about the measure on which these faults are judged.

    Args:
        marks: rows of `marks` that count.
        contents: `clip_id` and `content_sha256` of the marked clips as they are.
        now: `clip_id`, `status` and `reason` of those that are decided today.
        faults: reasons of the measure's rules.

    Raises:
        LabelsUnusable: there are too few, or all say the same.
    """
    same = marks.join(contents, on=["clip_id", "content_sha256"], how="semi", nulls_equal=True)
    keeps = (pl.col("status") == DECIDED[0]) == (pl.col("verdict") == RIGHT)
    clips = same.group_by("clip_id", maintain_order=True).agg(
        good=keeps.first(),
        contested=keeps.n_unique() > 1,
        faults=pl.col("fault").drop_nulls().unique(),
        seen=pl.concat_str("status", pl.col("reason").fill_null("")).first(),
    )
    agreed = clips.filter(~pl.col("contested"))
    today = agreed.join(now, on="clip_id")
    as_marked = (today["status"] == DECIDED[0]) == today["good"]
    seen_now = today.select(pl.concat_str("status", pl.col("reason").fill_null("")) == pl.col("seen")).to_series()
    of_measure = pl.col("faults").list.eval(pl.element().is_in(list(faults))).list.any()
    labels = agreed.filter(pl.col("good") | of_measure).select("clip_id", "good")
    bad = agreed.filter(~pl.col("good"))
    found = MarkedClips(
        labels=labels,
        markers=same["marker"].n_unique(),
        decided=today.height,
        agreeing=int(as_marked.sum()),
        changed=int((~seen_now).sum()),
        other_content=marks.height - same.height,
        no_fault=bad.filter(pl.col("faults").list.len() == 0).height,
        other_fault=bad.filter((pl.col("faults").list.len() > 0) & ~of_measure).height,
        contested=clips.height - agreed.height,
    )
    _require_enough(found, sorted(faults))
    return found


def _require_enough(found: MarkedClips, faults: list[str]) -> None:
    good, bad = (found.labels.filter(pl.col("good") == value).height for value in (True, False))
    if good + bad < LEAST_LABELS or not good or not bad:
        left_out = found.other_fault + found.no_fault + found.contested
        raise LabelsUnusable(
            f"too few marks: {good} clips should be kept and {bad} should not for {' or '.join(faults)} "
            f"({left_out} more clips are marked for another fault, for none, or differently by two persons); {LEAST_LABELS} are "
            "needed, of both kinds: mark more with `lafid review`"
        )
