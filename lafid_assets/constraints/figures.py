"""Charts about thresholds, readable in black and white.

Belongs here: frames -> PNG bytes. Not here: the charts of a dataset (`dataset.figures`).
"""

import io
from typing import TYPE_CHECKING

import polars as pl

from lafid_assets.constraints.calibration import Calibration

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def calibration_png(calibration: Calibration, current: float | None) -> bytes:
    """Precision, recall and F1 over the threshold, with the best one and the one that counts now."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.4), layout="constrained")
    axes = figure.subplots()
    for name, style in (("precision", "--"), ("recall", ":"), ("f1", "-")):
        axes.plot(calibration.curve["threshold"], calibration.curve[name], style, color="black", label=name)
    best = calibration.best["threshold"]
    axes.axvline(best, color="0.5", linewidth=3, label=f"best F1: {best:.3g}")
    if current is not None:
        axes.axvline(current, color="black", linewidth=0.8, label=f"now: {current:.3g}")
    axes.set_xlabel(calibration.measure)
    axes.set_ylim(0, 1.05)
    axes.legend(fontsize=8)
    return _png(figure)


def measure_png(values: pl.Series, before: float | None, after: float | None) -> bytes:
    """How a measure is spread over the judged clips, with the threshold that counts and the one that was asked about."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.0), layout="constrained")
    axes = figure.subplots()
    axes.hist(values.drop_nulls().to_numpy(), bins=60, color="0.8", edgecolor="black", linewidth=0.4)
    for threshold, style, label in ((before, "-", "now"), (after, "--", "asked about")):
        if threshold is not None:
            axes.axvline(threshold, color="black", linestyle=style, label=f"{label}: {threshold:g}")
    axes.set_xlabel(values.name)
    axes.set_ylabel("clips")
    axes.legend(fontsize=8)
    return _png(figure)


def _png(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90, metadata={"Software": None})
    return buffer.getvalue()
