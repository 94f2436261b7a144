"""Charts of the dataset, readable in black and white.

Belongs here: frames -> PNG bytes. Not here: photographs (`contact_sheet`), the page around them (`report_page`).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from lafid_assets.constraints.figures import chart, png_of
from lafid_assets.dataset.report_data import POSE_BIN_DEG, SHARE_BIN
from lafid_assets.outcomes import KEPT
from lafid_assets.schemas.columns import SPEAKING_STATUSES
from lafid_assets.schemas.measures import EXPRESSIONS

if TYPE_CHECKING:
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

HATCHES = {"kept": "", "rejected": "///", "error": "xxx", "timeout": "...", "skipped": "\\\\\\"}
GREYS = {"kept": "0.25", "rejected": "0.75", "error": "0.55", "timeout": "0.65", "skipped": "0.9"}


def funnel_png(counts: pl.DataFrame) -> bytes:
    """A bar for every way in which clips ended. `counts`: rows of `dataset_report`."""
    ways = counts.group_by("status", "reason").agg(pl.col("clips").sum())
    rows = ways.sort(pl.col("status") != KEPT, "status", "clips", "reason", descending=[False, False, True, False])
    bars = [
        (f"{status}: {reason}" if reason else status, clips, f" {clips}", {"color": GREYS[status], "hatch": HATCHES[status]})
        for status, reason, clips in rows.iter_rows()
    ]
    return _bars_png(bars, 0.9 + 0.32 * len(bars), 0.12, f"{int(rows['clips'].sum())} clips in")


def pose_png(histogram: pl.DataFrame) -> bytes:
    """Yaw, pitch and roll of the main faces: all clips, and those that were kept.

    Args:
        histogram: as `report_data.pose_histogram` gives it.
    """
    figure = _kept_of_all(histogram.rename({"angle": "measure", "from_deg": "start"}), ("yaw", "pitch", "roll"), POSE_BIN_DEG)
    for axes in figure.axes:
        axes.set_xlim(-99, 99)
        axes.set_xlabel(f"{axes.get_xlabel()}, degrees")
        axes.set_xticks(range(-90, 91, 45))
    return png_of(figure)


def expression_png(histogram: pl.DataFrame) -> bytes:
    """What mouth, eyes and brows of the main faces do: all clips, and those that were kept.

    Args:
        histogram: as `report_data.expression_histogram` gives it.
    """
    figure = _kept_of_all(histogram.rename({"from_share": "start"}), EXPRESSIONS, SHARE_BIN)
    return png_of(figure)


def references_png(gaps: pl.DataFrame) -> bytes:
    """What each further reference of a clip adds, in pose and in expression: median and quartiles over the clips.

    Args:
        gaps: as `report_data.reference_gaps` gives it.
    """
    figure, panels = chart(7, 2.4, 1, 2)
    labels = {"pose_gap_deg": "pose, degrees", "expression_gap": "expression, 1 - cosine"}
    for axes, (gap, label) in zip(panels, labels.items(), strict=True):
        of_gap = gaps.filter(gap=gap)
        index = of_gap["reference_index"].to_numpy()
        axes.fill_between(index, of_gap["low"].to_numpy(), of_gap["high"].to_numpy(), color="0.85", linewidth=0)
        axes.plot(index, of_gap["median"].to_numpy(), "k.-")
        axes.set_ylim(bottom=0)
        axes.set_ylabel(label)
        axes.set_xlabel("reference")
        _count_whole(axes.xaxis)
    return png_of(figure)


def _kept_of_all(histogram: pl.DataFrame, measures: Sequence[str], width: float) -> "Figure":
    """A panel a measure.

    Args:
        histogram: `measure`, `start` of the bin, `faces` and `kept`.
        width: of a bin.
    """
    figure, panels = chart(7, 2.4, 1, len(measures), sharey=True)
    looks = (("faces", "0.85", "all clips"), ("kept", "0.35", "kept"))
    for axes, measure in zip(panels, measures, strict=True):
        counted = histogram.filter(measure=measure)
        for column, grey, label in looks:
            look: dict[str, Any] = {"align": "edge", "color": grey, "edgecolor": "black", "linewidth": 0.5, "label": label}
            axes.bar(counted["start"].to_list(), counted[column].to_list(), width, **look)
        axes.set_xlabel(measure.replace("_", " "))
    figure.axes[0].set_ylabel("faces")
    figure.axes[-1].legend(fontsize=8)
    return figure


def identities_png(identity_ids: pl.Series) -> bytes:
    """How many persons are in how many clips. `identity_ids`: the person of every kept clip."""
    clips = identity_ids.value_counts()["count"]
    persons = clips.rename("clips").value_counts().sort("clips")
    figure, axes = chart(7, 2.6)
    sizes = [str(size) for size in persons["clips"]]
    axes.bar(sizes, persons["count"].to_list(), color="0.6", edgecolor="black", linewidth=0.6)
    axes.set_xlabel("clips of one person")
    axes.set_ylabel("persons")
    axes.set_title(f"{len(clips)} persons in {len(identity_ids)} clips")
    _count_whole(axes.yaxis)
    return png_of(figure)


def speech_png(evidence: pl.DataFrame) -> bytes:
    """Who speaks in the kept clips and what decided it, in the order of the closed list of statuses.

    Args:
        evidence: as `report_data.speech_by_evidence` gives it.
    """
    total = max(1, evidence["clips"].sum())
    bars: list[tuple[str, int]] = []
    for status in SPEAKING_STATUSES:
        found = evidence.filter(status=status)
        bars += [(f"{status}: {reason}", clips) for reason, clips in found.select("reason", "clips").iter_rows()] or [(status, 0)]
    said = [(label, clips, f" {clips} ({clips / total:.0%})", {"color": "0.8"}) for label, clips in bars]
    return _bars_png(said, 0.6 + 0.28 * len(bars), 0.25)


def similarity_png(curves: pl.DataFrame) -> bytes:
    """How alike faces of one person are at a pose gap: measured in the shards, expected, and where strangers lie.

    Args:
        curves: as `report_data.similarity_curves` gives them.
    """
    figure, axes = chart(7, 3.0)
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


def _bars_png(bars: Sequence[tuple[str, int, str, Mapping[str, str]]], height: float, margin: float, title: str = "") -> bytes:
    """Horizontal bars, each with its label, its clips, the words beside it and its look."""
    figure, axes = chart(7, height)
    for index, (_, clips, said, look) in enumerate(bars):
        axes.barh(index, clips, edgecolor="black", linewidth=0.6, **look)
        axes.text(clips, index, said, va="center")
    axes.set_yticks(range(len(bars)), [label for label, *_ in bars])
    axes.invert_yaxis()
    axes.margins(x=margin)
    _count_whole(axes.xaxis)
    axes.set_xlabel("clips")
    axes.set_title(title)
    return png_of(figure)


def _count_whole(axis: "Axis") -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True))
