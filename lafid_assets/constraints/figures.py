"""Charts about thresholds, readable in black and white.

Belongs here: frames -> PNG bytes, or lines for a terminal. Not here: the charts of a dataset (`dataset.figures`).
"""

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from lafid_assets.constraints.calibration import Calibration

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LINES, BAR_CHARACTERS = 16, 40


def calibration_png(calibration: Calibration, current: float | None) -> bytes:
    """Precision, recall and F1 over the threshold, with the best one and the one that counts now."""
    figure, axes = chart(7, 3.4)
    for name, style in (("precision", "--"), ("recall", ":"), ("f1", "-")):
        axes.plot(calibration.curve["threshold"], calibration.curve[name], style, color="black", label=name)
    best = calibration.best["threshold"]
    axes.axvline(best, color="0.5", linewidth=3, label=f"best F1: {best:.3g}")
    if current is not None:
        axes.axvline(current, color="black", linewidth=0.8, label=f"now: {current:.3g}")
    axes.set_xlabel(calibration.measure)
    axes.set_ylim(0, 1.05)
    axes.legend(fontsize=8)
    return png_of(figure)


def measure_png(values: pl.Series, thresholds: Mapping[str, float | None]) -> bytes:
    """How a measure is spread over the judged clips.

    Args:
        thresholds: what each is called, and where it lies; None where the rule is off.
    """
    figure, axes = chart(7, 3.0)
    axes.hist(values.drop_nulls().to_numpy(), bins=60, color="0.8", edgecolor="black", linewidth=0.4)
    for (name, threshold), style in zip(thresholds.items(), ("-", "--"), strict=True):
        if threshold is not None:
            axes.axvline(threshold, color="black", linestyle=style, label=f"{name}: {threshold:g}")
    axes.set_xlabel(values.name)
    axes.set_ylabel("clips")
    axes.legend(fontsize=8)
    return png_of(figure)


def histogram_lines(values: pl.Series, thresholds: Mapping[str, float | None]) -> list[str]:
    """The same for a terminal: a line a bin with its bounds, a bar and the clips, and the thresholds that lie in it."""
    known = values.drop_nulls().to_numpy()
    if not len(known):
        return ["not measured in any clip"]
    placed = {name: threshold for name, threshold in thresholds.items() if threshold is not None}
    low, high = min(known.min(), *placed.values()), max(known.max(), *placed.values())
    counts, edges = np.histogram(known, bins=LINES, range=(low, high))
    lines = []
    for index, (count, start, end) in enumerate(zip(counts, edges[:-1], edges[1:], strict=True)):
        last = index == len(counts) - 1
        marks = [f"{name}: {at:g}" for name, at in placed.items() if start <= at and (at < end or last)]
        bar = "#" * round(BAR_CHARACTERS * count / counts.max())
        lines.append(f"{start:8.4g} to {end:8.4g} {bar:{BAR_CHARACTERS}} {count:7d}  {'  '.join(marks)}".rstrip())
    return lines


def chart(width: float, height: float, rows: int = 1, columns: int = 1, **shared: Any) -> "tuple[Figure, Any]":
    """A figure of that size, in inches, and its axes: one, or an array of them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **shared)


def png_of(figure: "Figure") -> bytes:
    """The figure in grey, a third of the bytes of the same in colour."""
    from PIL import Image

    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=90)
    buffer = io.BytesIO()
    Image.open(drawn).convert("L").save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
