"""Charts of an evaluation, readable in black and white.

Belongs here: rows and bounds -> PNG bytes. Not here: the page around them (`evaluation_page`), what is measured.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from lafid_assets.constraints.figures import png_of
from model.evaluation.bench import BinBounds
from model.likeness import YAW_BINS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINES: tuple[dict[str, Any], ...] = (
    {"color": "black", "linestyle": "-", "marker": "o"},
    {"color": "0.4", "linestyle": "--", "marker": "s"},
)
"""Of the model, and of the one that it is compared with."""
_BINS = YAW_BINS[:-1]
_SIDES, _ENDS = ("stranger_floor", "same_person_ceiling"), ("low", "high")


def by_yaw_png(measures: pl.DataFrame, bounds: Mapping[str, BinBounds], models: Mapping[str, str]) -> bytes:
    """Similarity by yaw bin with its intervals, between what strangers and what the person have there.

    Args:
        models: name to hash of the checkpoint, the model itself first.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.4), layout="constrained")
    axes = figure.subplots()
    places = range(len(_BINS))
    floors, ceilings = ([getattr(bounds.get(name), side, None) for name in _BINS] for side in _SIDES)
    _step(axes, ceilings, ":", "the person (ceiling)")
    _step(axes, floors, "-.", "strangers (floor)")
    for index, (name, checkpoint) in enumerate(models.items()):
        rows = {row["metric"]: row for row in measures.filter(checkpoint_sha256=checkpoint).iter_rows(named=True)}
        found = [rows.get(f"likeness_{bin_}") for bin_ in _BINS]
        known = [(place, row) for place, row in zip(places, found, strict=True) if row is not None and row["value"] is not None]
        if not known:
            continue
        x = [place + 0.08 * index for place, _ in known]
        y = [row["value"] for _, row in known]
        low, high = (
            [abs(row["value"] - (row["value"] if row[side] is None else row[side])) for _, row in known] for side in _ENDS
        )
        axes.errorbar(x, y, (low, high), capsize=3, markersize=5, label=name, **LINES[index])
    labels = [name.removeprefix("yaw_").replace("_", " to ") for name in _BINS]
    axes.set_xticks(places, [f"{label}°" for label in labels])
    axes.set_xlabel("yaw of the drawn face, to either side")
    axes.set_ylabel("cosine to the gallery")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)
    return png_of(figure)


def frames_png(frames: pl.DataFrame, models: Mapping[str, str], target_yaw_deg: Sequence[float]) -> bytes:
    """One case, frame by frame: similarity above, yaw below with that of the real clip over the time of the video."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 2.8), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    for index, (name, checkpoint) in enumerate(models.items()):
        track = frames.filter(checkpoint_sha256=checkpoint).sort("frame_index")
        for axes, column in ((above, "similarity"), (below, "yaw_deg")):
            values = track[column].cast(pl.Float64).fill_null(float("nan"))
            axes.plot(track["frame_index"], values, markersize=3, linewidth=0.9, label=name, **LINES[index])
    last = max(1, *frames["frame_index"].to_list())
    if target_yaw_deg:
        count = len(target_yaw_deg)
        times = [last * index / max(1, count - 1) for index in range(count)]
        below.plot(times, target_yaw_deg, ":", color="0.6", linewidth=1.2, label="the real clip")
    above.set_ylabel("cosine", fontsize=8)
    below.set_ylabel("yaw, degrees", fontsize=8)
    below.set_xlabel("frame; a gap: no face", fontsize=8)
    below.legend(fontsize=6)
    return png_of(figure)


def _step(axes: "Axes", values: Sequence[float | None], style: str, label: str) -> None:
    """A level in each bin; none where the bench has none."""
    for place, value in enumerate(values):
        if value is not None:
            axes.plot((place - 0.4, place + 0.4), (value, value), style, color="0.5", label=label)
            label = "_nolegend_"
