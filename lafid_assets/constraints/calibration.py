"""A measure against hand labels: how good would each threshold be? FaithfulFaces found its 120 degrees so, on 2,000 clips.

Belongs here: labels and measures -> the curve and its best points. Not here: drawing it (`figures`), what marks say as
labels (`review.labels`), the command.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray


class LabelsUnusable(ValueError):
    """The labels cannot be used; the message names the file and the remedy."""


@dataclass(frozen=True)
class Calibration:
    """One threshold after another.

    Attributes:
        curve: `threshold`, `kept` (clips at or above it), `precision`, `recall`, `accuracy`, `f1` against the labels, rising.
        best: the row with the greatest F1; of equal ones the strictest threshold.
        most_agreed: the row with the greatest accuracy: the threshold that most labels agree with.
        unmeasured: labelled clips without the measure.
        unknown: labelled clips that are not in the table.
    """

    measure: str
    curve: pl.DataFrame
    best: dict[str, float]
    most_agreed: dict[str, float]
    unmeasured: int
    unknown: list[str]


def read_labels(path: Path) -> pl.DataFrame:
    """`clip_id` and `good` from a CSV with the columns `clip_id` and `label` (1/0, yes/no, good/bad, true/false, keep/drop).

    Raises:
        LabelsUnusable: a column is missing, a label is none of these, or a clip is labelled twice.
    """
    try:
        table = pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise LabelsUnusable(f"{path} cannot be read as CSV: {error}") from error
    missing = [name for name in ("clip_id", "label") if name not in table.columns]
    if missing:
        raise LabelsUnusable(f"{path} has no column {missing[0]}: it needs clip_id and label")
    meaning = {"1": True, "yes": True, "good": True, "true": True, "keep": True}
    meaning |= {"0": False, "no": False, "bad": False, "false": False, "drop": False}
    words = table["label"].fill_null("").str.strip_chars().str.to_lowercase()
    strange = table.filter(~words.is_in(list(meaning)))
    if strange.height:
        raise LabelsUnusable(f"{path}: clip {strange['clip_id'][0]} is labelled {strange['label'][0]!r}: use 1 or 0")
    twice = table.filter(table["clip_id"].is_duplicated())
    if twice.height:
        raise LabelsUnusable(f"{path}: clip {twice['clip_id'][0]} is labelled twice")
    return table.select("clip_id", good=words.replace_strict(meaning, return_dtype=pl.Boolean))


def calibrate(labels: pl.DataFrame, measured: pl.DataFrame, measure: str, *, higher_is_better: bool = True) -> Calibration:
    """Every threshold that separates two measured values.

    Args:
        labels: as `read_labels` gives them.
        measured: `clip_id` and the measure.
        higher_is_better: False for a measure of which the policy names a maximum.

    Raises:
        LabelsUnusable: no labelled clip is measured, or all labels are the same.
    """
    joined = labels.join(measured.select("clip_id", value=pl.col(measure).cast(pl.Float64)), on="clip_id")
    unknown = labels.join(measured, on="clip_id", how="anti")["clip_id"].sort().to_list()
    usable = joined.drop_nulls("value")
    if usable["good"].n_unique() < 2:
        raise LabelsUnusable(
            f"{usable.height} labelled clips have the measure {measure} and all bear one label: label good and bad ones"
            if usable.height
            else f"none of the {labels.height} labelled clips has the measure {measure}: are these the ids of this installation?"
        )
    sign = 1.0 if higher_is_better else -1.0
    value, good = sign * usable["value"].to_numpy(), usable["good"].to_numpy()
    thresholds = np.unique(value)
    kept = value[None, :] >= thresholds[:, None]  # (thresholds, clips)
    hits = (kept & good).sum(axis=1)
    precision, recall = hits / kept.sum(axis=1), hits / good.sum()
    f1 = np.divide(2 * precision * recall, precision + recall, out=np.zeros(len(hits)), where=precision + recall > 0)
    accuracy = (kept == good).mean(axis=1)
    curve = pl.DataFrame(
        {
            "threshold": sign * thresholds,
            "kept": kept.sum(axis=1),
            "precision": precision,
            "recall": recall,
            "accuracy": accuracy,
            "f1": f1,
        }
    )
    return Calibration(
        measure=measure,
        curve=curve.sort("threshold"),
        best=_strictest(curve, f1),
        most_agreed=_strictest(curve, accuracy),
        unmeasured=joined.height - usable.height,
        unknown=unknown,
    )


def _strictest(curve: pl.DataFrame, by: NDArray[np.float64]) -> dict[str, float]:
    """The row with the greatest figure; of equal ones the last, which keeps least."""
    return {name: float(value) for name, value in curve.row(int(len(by) - 1 - by[::-1].argmax()), named=True).items()}
