"""Charts of the dataset, readable in black and white.

Belongs here: frames -> PNG bytes. Not here: photographs (`contact_sheet`), the page around them (`report_page`).
"""

from typing import Any

import polars as pl

from lafid_assets.constraints.figures import png_of
from lafid_assets.dataset.funnel import KEPT
from lafid_assets.dataset.report_data import POSE_BIN_DEG
from lafid_assets.schemas.columns import SPEAKING_STATUSES

HATCHES = {"kept": "", "rejected": "///", "error": "xxx", "timeout": "...", "skipped": "\\\\\\"}
GREYS = {"kept": "0.25", "rejected": "0.75", "error": "0.55", "timeout": "0.65", "skipped": "0.9"}


def funnel_png(counts: pl.DataFrame) -> bytes:
    """A bar for every way in which clips ended.

    Args:
        counts: rows of `dataset_report`.
    """
    from matplotlib.figure import Figure

    bars = counts.sort(pl.col("status") != KEPT, "status", "clips", descending=[False, False, True])
    names = [f"{row['status']}: {row['reason']}" if row["reason"] else row["status"] for row in bars.iter_rows(named=True)]
    figure = Figure(figsize=(7, 0.9 + 0.32 * len(names)), layout="constrained")
    axes = figure.subplots()
    for index, row in enumerate(bars.iter_rows(named=True)):
        status = row["status"]
        axes.barh(index, row["clips"], color=GREYS[status], hatch=HATCHES[status], edgecolor="black", linewidth=0.6)
        axes.text(row["clips"], index, f" {row['clips']}", va="center")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("clips")
    axes.set_title(f"{int(bars['clips'].sum())} clips in")
    return png_of(figure)


def pose_png(histogram: pl.DataFrame) -> bytes:
    """Yaw, pitch and roll of the main faces: all clips, and those that were kept.

    Args:
        histogram: as `report_data.pose_histogram` gives it.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 2.4), layout="constrained")
    looks = (("faces", "0.85", "all clips"), ("kept", "0.35", "kept"))
    for axes, angle in zip(figure.subplots(1, 3, sharey=True), ("yaw", "pitch", "roll"), strict=True):
        counted = histogram.filter(angle=angle)
        for column, grey, label in looks:
            look: dict[str, Any] = {"align": "edge", "color": grey, "edgecolor": "black", "linewidth": 0.5, "label": label}
            axes.bar(counted["from_deg"].to_list(), counted[column].to_list(), POSE_BIN_DEG, **look)
        axes.set_xlim(-99, 99)
        axes.set_xlabel(f"{angle}, degrees")
        axes.set_xticks(range(-90, 91, 45))
    figure.axes[0].set_ylabel("faces")
    figure.axes[-1].legend(fontsize=8)
    return png_of(figure)


def identities_png(identity_ids: pl.Series) -> bytes:
    """How many persons are in how many clips.

    Args:
        identity_ids: the person of every kept clip.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    clips = identity_ids.value_counts()["count"]
    persons = clips.rename("clips").value_counts().sort("clips")
    figure = Figure(figsize=(7, 2.6), layout="constrained")
    axes = figure.subplots()
    sizes = [str(size) for size in persons["clips"]]
    axes.bar(sizes, persons["count"].to_list(), color="0.6", edgecolor="black", linewidth=0.6)
    axes.set_xlabel("clips of one person")
    axes.set_ylabel("persons")
    axes.set_title(f"{len(clips)} persons in {len(identity_ids)} clips")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    return png_of(figure)


def speech_png(evidence: pl.DataFrame) -> bytes:
    """Who speaks in the kept clips and what decided it, in the order of the closed list of statuses.

    Args:
        evidence: as `report_data.speech_by_evidence` gives it.
    """
    from matplotlib.figure import Figure

    total = max(1, evidence["clips"].sum())
    bars: list[tuple[str, int]] = []
    for status in SPEAKING_STATUSES:
        found = evidence.filter(status=status)
        bars += [(f"{status}: {reason}", clips) for reason, clips in found.select("reason", "clips").iter_rows()] or [(status, 0)]
    figure = Figure(figsize=(7, 0.6 + 0.28 * len(bars)), layout="constrained")
    axes = figure.subplots()
    for index, (_, clips) in enumerate(bars):
        axes.barh(index, clips, color="0.8", edgecolor="black", linewidth=0.6)
        axes.text(clips, index, f" {clips} ({clips / total:.0%})", va="center")
    axes.set_yticks(range(len(bars)), [label for label, _ in bars])
    axes.invert_yaxis()
    axes.set_xlabel("clips")
    axes.margins(x=0.15)
    return png_of(figure)


def similarity_png(curves: pl.DataFrame) -> bytes:
    """How alike faces of one person are at a pose gap: measured in the shards, expected, and where strangers lie.

    Args:
        curves: as `report_data.similarity_curves` gives them.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.0), layout="constrained")
    axes = figure.subplots()
    for (engine,), curve in curves.group_by("engine", maintain_order=True):
        gap = curve["gap"].to_numpy()
        low = (curve["expected"] - curve["spread"]).to_numpy()
        axes.fill_between(gap, low, curve["expected"].to_numpy(), color="0.85", linewidth=0)
        axes.plot(gap, curve["expected"], color="black", label=f"{engine}: expected, and one spread below")
        axes.plot(gap, curve["measured"], "k.", label="measured in these shards")
        axes.plot(gap, curve["strangers"], color="black", linestyle=":", label="strangers")
    axes.set_xlabel("pose gap, degrees")
    axes.set_ylabel("cosine")
    if curves.height:
        axes.legend(fontsize=8)
    return png_of(figure)
