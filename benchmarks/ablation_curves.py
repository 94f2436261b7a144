"""The results of `benchmarks.ablation` as pictures, readable in black and white.

Belongs here: the table -> PNG files. Not here: how it was computed (`ablation_table`).
"""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.head_variants import CLAIMS, VARIANTS
from model.files import whole_file

CURVES, ROWS, DIFFERENCES = "ablation_curves.png", "ablation_rows.png", "ablation_claims.png"
_MARKERS = "osv^D<>*Pxh+dXp1234"


def write_pictures(table: dict[str, Any], folder: Path) -> None:
    """Likeness over steps, likeness by pose gap, and the paired difference of every claim."""
    for name, figure in ((CURVES, _curves(table)), (ROWS, _by_gap(table)), (DIFFERENCES, _claims(table))):
        with whole_file(folder / name) as temporary:
            figure.savefig(temporary, dpi=120)


def _curves(table: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for marker, variant in zip(_MARKERS, (name for name in VARIANTS if name in table), strict=False):
        steps, values = zip(*table[variant]["curve"], strict=True)
        axes.plot(steps, values, f"-{marker}", color="0.25", linewidth=0.7, markersize=4, label=variant)
    axes.set_xlabel("step")
    axes.set_ylabel("similarity with the person")
    figure.legend(loc="outside right upper", fontsize=7)
    return figure


def _by_gap(table: dict[str, Any]) -> Figure:
    rows = [name for name in VARIANTS if name in table]
    figure = Figure(figsize=(7, 1.2 + 0.28 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, variant in enumerate(rows):
        low, *middle, far = table[variant]["by_gap"]
        axes.plot([low, *middle, far], [place] * (2 + len(middle)), "-", color="0.7", linewidth=1, zorder=1)
        axes.plot(low, place, "o", color="black", fillstyle="none", markersize=5)
        axes.plot(far, place, "o", color="black", markersize=5)
    ends = [f"{low}-{high} degrees from the photo" for low, high in (table["gaps_deg"][0], table["gaps_deg"][-1])]
    axes.plot([], [], "o", color="black", fillstyle="none", label=ends[0])
    axes.plot([], [], "o", color="black", label=ends[1])
    axes.axvline(table["real_frames"]["similarity"], color="0.5", linewidth=0.8, linestyle="--", label="real frames")
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("similarity with the person")
    figure.legend(loc="outside upper right", fontsize=7, ncols=3)
    return figure


def _claims(table: dict[str, Any]) -> Figure:
    claims = [claim for claim in table["claims"] if "mean" in claim]
    figure = Figure(figsize=(7, 1.0 + 0.32 * len(CLAIMS)), layout="constrained")
    axes = figure.subplots()
    for place, claim in enumerate(claims):
        shown = claim["verdict"] == "shown"
        if claim["pairs"] > 1:
            half = claim["bound"]
            axes.plot([claim["mean"] - half, claim["mean"] + half], [place, place], "-", color="0.4", linewidth=1)
        axes.plot(claim["mean"], place, "o", color="black", fillstyle="full" if shown else "none", markersize=6)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(claims)), [claim["text"] for claim in claims], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("paired difference (filled: shown)")
    return figure
