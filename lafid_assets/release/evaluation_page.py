"""An evaluation as one self-contained HTML page: what was drawn side by side, curves, every measure, the worst cases first.

Belongs here: tables, pictures and videos -> what the page shows, by the names of its template (`templates/evaluation.html`), and
its charts, readable in black and white. Not here: escaping (`pages`), measuring, what is enough.

Videos lie in the page up to `MOST_BYTES` together; the others it links, relative to its own folder.
"""

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import polars as pl

from lafid_assets import pages
from lafid_assets.constraints.figures import chart, png_of
from lafid_assets.release.comparison import OVERALL, Difference, compare
from lafid_assets.release.evaluation import target_yaws_deg
from lafid_assets.release.evaluation_tasks import FOLDER
from lafid_assets.schemas import EVALUATED_FRAMES, EVALUATED_VIDEOS, MODEL_EVALUATION
from lafid_assets.steps.contract import TableSchema
from model.evaluation.bench import Bench, BinBounds, Case, read_bench_picture
from model.files import write_whole
from model.likeness import YAW_BINS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_BYTES = 24 << 20
"""Of videos in the page; mail takes about as much."""
MOST_SHOWN = 24
"""Cases with videos and curves; all others are lines of the table."""
_FRAME_PX = 256
LINES: tuple[dict[str, Any], ...] = (
    {"color": "black", "linestyle": "-", "marker": "o"},
    {"color": "0.4", "linestyle": "--", "marker": "s"},
)
"""Of the model, and of the one that it is compared with."""
_BINS = YAW_BINS[:-1]
_SIDES, _ENDS = ("stranger_floor", "same_person_ceiling"), ("low", "high")
Table = Mapping[str, Any]
"""`head` and `rows`."""


@dataclass(frozen=True)
class Evaluated:
    """What a page shows.

    Attributes:
        root: paths of videos are relative to it.
        models: name to hash of the checkpoint, the model itself first; one or two.
        tables: `model_evaluation`, `evaluated_videos` and `evaluated_frames`.
        notes: sentences that the reader must know.
    """

    root: Path
    bench: Bench
    bench_dir: Path
    models: Mapping[str, str]
    tables: Mapping[str, pl.DataFrame]
    notes: Sequence[str] = ()

    def rows(self, table: TableSchema) -> pl.DataFrame:
        """The table's rows of this bench."""
        return self.tables[table.name].filter(bench_version=self.bench.version)

    @cached_property
    def differences(self) -> list[Difference]:
        """Of the model to the one that it is compared with; none where there is none."""
        if len(self.models) < 2:
            return []
        ours, theirs = self.models.values()
        return compare(self.rows(EVALUATED_VIDEOS), self.rows(EVALUATED_FRAMES), ours, theirs)

    @cached_property
    def curves_png(self) -> bytes:
        """The chart of similarity by yaw bin."""
        return by_yaw_png(self.rows(MODEL_EVALUATION), self.bench.bounds, self.models)


def page_path(checkpoint_sha256: str, bench_version: str) -> str:
    """Of the page that `model_evaluation` writes, in the store."""
    return f"{FOLDER}/pages/{checkpoint_sha256[:16]}-{bench_version}.html"


def write_page(page: Path, evaluated: Evaluated) -> None:
    """Writes the page, whole or not at all.

    Raises:
        BenchError: a first frame cannot be read.
    """
    write_whole(page, render_page(evaluated, page.parent))


def render_page(evaluated: Evaluated, folder: Path) -> str:
    """The page, for a place in `folder`: there begin the links to what it does not hold."""
    bench = evaluated.bench
    cases, others = _cases(evaluated, folder)
    measures, absent = _measures(evaluated)
    return pages.render(
        "evaluation.html",
        first=next(iter(evaluated.models)),
        bench=bench,
        persons=len({case.identity_id for case in bench.cases}),
        notes=evaluated.notes,
        compared=_compared(evaluated),
        curves=pages.png_address(evaluated.curves_png),
        cases=cases,
        others=others,
        measures=measures,
        absent=absent,
    )


def _compared(evaluated: Evaluated) -> Table | None:
    if not evaluated.differences:
        return None
    ours, theirs = evaluated.models
    rows = [
        (one.metric, one.told, one.verdict, one.interval.videos, one.only_ours, one.only_theirs) for one in evaluated.differences
    ]
    head = ("measure", f"{ours} minus {theirs}", "so it is", "pairs", f"only {ours}", f"only {theirs}")
    return {"theirs": theirs, "head": head, "rows": rows}


def _measures(evaluated: Evaluated) -> tuple[Table, Table]:
    """What was measured of any model, and what was not of each, a line a reason."""
    by_model = {
        name: {
            (row["split"], row["metric"]): row
            for row in evaluated.rows(MODEL_EVALUATION).filter(checkpoint_sha256=sha).iter_rows(named=True)
        }
        for name, sha in evaluated.models.items()
    }
    lines = []
    for key in dict.fromkeys(key for rows in by_model.values() for key, row in rows.items() if row["value"] is not None):
        cells: list[Any] = [key[1]]
        for rows in by_model.values():
            row = rows.get(key)
            cells += ["not evaluated", ""] if row is None else [_interval(row["value"], row["low"], row["high"]), row["videos"]]
        lines.append(cells)
    reasons: dict[tuple[str, str], list[str]] = {}
    for name, rows in by_model.items():
        for (_, metric), row in rows.items():
            if row["value"] is None:
                reasons.setdefault((name, row["absent"]), []).append(metric)
    absent = [(name, reason, ", ".join(metrics)) for (name, reason), metrics in reasons.items()]
    head = ("measure", *(column for name in by_model for column in (name, "videos")))
    return {"head": head, "rows": lines}, {"head": ("model", "why", "measures"), "rows": absent}


def _cases(evaluated: Evaluated, folder: Path) -> tuple[list[Mapping[str, Any]], Table]:
    """The worst cases, and a line of each other."""
    own = next(iter(evaluated.models.values()))
    known = {case.case_id: case for case in evaluated.bench.cases}
    worst = evaluated.rows(EVALUATED_VIDEOS).filter(checkpoint_sha256=own).sort(OVERALL, "case_id", nulls_last=False)
    left, cases = MOST_BYTES, []
    for case_id in worst["case_id"][:MOST_SHOWN]:
        case, left = _case(evaluated, known[case_id], folder, left)
        cases.append(case)
    lines = [
        (row["case_id"], _figure(row[OVERALL]), row["status"], row["detail"] or "")
        for row in worst[MOST_SHOWN:].iter_rows(named=True)
    ]
    return cases, {"head": ("case", OVERALL, "status", "detail"), "rows": lines}


def _case(evaluated: Evaluated, case: Case, folder: Path, left: int) -> tuple[Mapping[str, Any], int]:
    """What is shown of a case, and how many bytes of videos still fit into the page."""
    rows = {
        row["checkpoint_sha256"]: row
        for row in evaluated.rows(EVALUATED_VIDEOS).filter(case_id=case.case_id).iter_rows(named=True)
    }
    videos = []
    for name, checkpoint in evaluated.models.items():
        row = rows.get(checkpoint)
        shown, size = _video(evaluated.root, row, folder, left)
        left -= size
        videos.append({"model": name, "told": _told(row), **shown})
    frames = evaluated.rows(EVALUATED_FRAMES).filter(case_id=case.case_id)
    lasted = [(row["frames"] - 1) / row["fps"] for row in rows.values() if row["frames"] is not None]
    target = target_yaws_deg(case, max(lasted, default=case.duration_s))
    return {
        "title": f"{case.case_id}: person {case.identity_id}, {case.yaw_bin}, {case.expression_bin}, {case.speaking_status}",
        "prompt": case.prompt,
        "given": _given(evaluated, case),
        "videos": videos,
        "frames": pages.png_address(frames_png(frames, evaluated.models, target)) if frames.height else None,
    }, left


def _told(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "not evaluated"
    if row["video_path"] is None:
        return f"{row['status']}: {row['detail']}"
    return f"{OVERALL} {_figure(row[OVERALL])}, likeness {_figure(row['likeness'])}, faces in {_figure(row['faces_found_share'])}"


def _video(root: Path, row: Mapping[str, Any] | None, folder: Path, left: int) -> tuple[dict[str, str | None], int]:
    """Address of the video with the name to link it by, if it is a link; and how many bytes of it are in the page."""
    path = None if row is None or row["video_path"] is None else root / row["video_path"]
    if path is None or not path.is_file():
        return {"address": None, "link": None}, 0
    size = path.stat().st_size
    if size > left:
        return {"address": quote(Path(os.path.relpath(path, folder)).as_posix()), "link": path.name}, 0
    return {"address": pages.mp4_address(path.read_bytes()), "link": None}, size


def _given(evaluated: Evaluated, case: Case) -> str:
    from PIL import Image

    picture = Image.fromarray(read_bench_picture(evaluated.bench_dir, case.first_frame))
    picture.thumbnail((_FRAME_PX * 2, _FRAME_PX))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return pages.jpeg_address(buffer.getvalue())


def _figure(value: float | None) -> str:
    return "NULL" if value is None else f"{value:.3f}"


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    return _figure(value) + ("" if low is None or high is None else f" ({low:.3f} to {high:.3f})")


def by_yaw_png(measures: pl.DataFrame, bounds: Mapping[str, BinBounds], models: Mapping[str, str]) -> bytes:
    """Similarity by yaw bin with its intervals, between what strangers and what the person have there.

    Args:
        models: name to hash of the checkpoint, the model itself first.
    """
    figure, axes = chart(7, 3.4)
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
    figure, (above, below) = chart(5, 2.8, 2, sharex=True)
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
