"""An evaluation as one self-contained HTML page: what was drawn side by side, curves, every measure, the worst cases first.

Belongs here: tables, pictures and videos -> HTML. Not here: drawing charts (`evaluation_figures`), measuring, what is enough.

The page asks nobody for anything: its policy allows no script and no address outside it. Videos lie in it up to `MOST_BYTES`
together; the others it links, relative to its own folder.
"""

import base64
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl

from lafid_assets.dataset.report_page import STYLE, png_address
from lafid_assets.release.comparison import OVERALL, Difference, compare
from lafid_assets.release.evaluation_figures import by_yaw_png, frames_png
from lafid_assets.release.evaluation_rows import target_yaws_deg
from lafid_assets.release.evaluation_tasks import FOLDER
from lafid_assets.schemas import EVALUATED_FRAMES, EVALUATED_VIDEOS, MODEL_EVALUATION
from model.evaluation.bench import Bench, Case, read_bench_picture
from model.files import whole_file

MOST_BYTES = 24 << 20
"""Of videos in the page; mail takes about as much."""
MOST_SHOWN = 24
"""Cases with videos and curves; all others are lines of the table."""
_FRAME_PX = 256
_POLICY = "default-src 'none'; img-src data:; media-src data: 'self' file:; style-src 'unsafe-inline'"
_STYLE = STYLE + (
    "td,th{overflow-wrap:anywhere}video,.given{height:200px;border:1px solid #999}"
    "figure{display:inline-block;margin:.3em .6em .3em 0;vertical-align:top}"
    "figcaption{font-size:13px;max-width:280px}.case{border-top:2px solid #333;margin-top:1.2em}td.n{text-align:right}"
)


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

    @property
    def videos(self) -> pl.DataFrame:
        """Rows of the bench."""
        return self.tables[EVALUATED_VIDEOS.name].filter(bench_version=self.bench.version)

    @property
    def frames(self) -> pl.DataFrame:
        """The same."""
        return self.tables[EVALUATED_FRAMES.name].filter(bench_version=self.bench.version)

    @property
    def measures(self) -> pl.DataFrame:
        """The same."""
        return self.tables[MODEL_EVALUATION.name].filter(bench_version=self.bench.version)

    @cached_property
    def differences(self) -> list[Difference]:
        """Of the model to the one that it is compared with; none where there is none."""
        if len(self.models) < 2:
            return []
        ours, theirs = self.models.values()
        return compare(self.videos, self.frames, ours, theirs)

    @cached_property
    def curves_png(self) -> bytes:
        """Similarity by yaw bin."""
        return by_yaw_png(self.measures, self.bench.bounds, self.models)


def page_path(checkpoint_sha256: str, bench_version: str) -> str:
    """Of the page that `model_evaluation` writes, in the store."""
    return f"{FOLDER}/pages/{checkpoint_sha256[:16]}-{bench_version}.html"


def write_page(page: Path, evaluated: Evaluated) -> None:
    """Writes the page, whole or not at all.

    Raises:
        BenchError: a first frame cannot be read.
    """
    with whole_file(page) as temporary:
        temporary.write_text(render_page(evaluated, page.parent), encoding="utf-8")


def render_page(evaluated: Evaluated, folder: Path) -> str:
    """The page, for a place in `folder`: there begin the links to what it does not hold."""
    bench, first = evaluated.bench, next(iter(evaluated.models))
    persons = len({case.identity_id for case in bench.cases})
    sections = [
        f"<h1>{escape(first)} on {escape(bench.name)} {escape(bench.version)}</h1>",
        f"<p>{len(bench.cases)} cases of {persons} persons that were never trained on; faces measured by "
        f"{escape(bench.engine.name)} {escape(bench.engine.version)}. Intervals are 95 %, by bootstrap over persons.</p>",
        *(f"<p>{escape(note)}</p>" for note in evaluated.notes),
        *_compared(evaluated),
        "<h2>Similarity by pose</h2>",
        _picture("Similarity by yaw bin, between strangers and the person", evaluated.curves_png),
        "<h2>Cases, the worst first</h2>",
        *_cases(evaluated, folder),
        *_measures(evaluated),
    ]
    head = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>LaFID evaluation</title><style>{_STYLE}</style>"
    )
    return head + "\n".join(sections) + "</html>"


def _compared(evaluated: Evaluated) -> list[str]:
    if not evaluated.differences:
        return []
    ours, theirs = evaluated.models
    rows = [
        (one.metric, one.told, one.verdict, one.interval.videos, one.only_ours, one.only_theirs) for one in evaluated.differences
    ]
    head = ("measure", f"{ours} minus {theirs}", "so it is", "pairs", f"only {ours}", f"only {theirs}")
    return [f"<h2>Against {escape(theirs)}</h2>", _table(head, rows)]


def _measures(evaluated: Evaluated) -> list[str]:
    """What was measured of any model, and below it what was not of each, a line a reason."""
    by_model = {
        name: {
            (row["split"], row["metric"]): row for row in evaluated.measures.filter(checkpoint_sha256=sha).iter_rows(named=True)
        }
        for name, sha in evaluated.models.items()
    }
    lines = []
    for key in dict.fromkeys(key for rows in by_model.values() for key, row in rows.items() if row["value"] is not None):
        cells: list[Any] = [key[1]]
        for rows in by_model.values():
            row = rows.get(key)
            cells += ["not evaluated", ""] if row is None else [_interval(row["value"], row["low"], row["high"]), row["videos"]]
        lines.append(tuple(cells))
    reasons: dict[tuple[str, str], list[str]] = {}
    for name, rows in by_model.items():
        for (_, metric), row in rows.items():
            if row["value"] is None:
                reasons.setdefault((name, row["absent"]), []).append(metric)
    absent = [(name, reason, ", ".join(metrics)) for (name, reason), metrics in reasons.items()]
    head = ("measure", *(column for name in by_model for column in (name, "videos")))
    return [
        "<h2>All measures</h2>",
        _table(head, lines),
        *(["<h2>Not measured</h2>", _table(("model", "why", "measures"), absent)] if absent else []),
    ]


def _cases(evaluated: Evaluated, folder: Path) -> list[str]:
    own = next(iter(evaluated.models.values()))
    known = {case.case_id: case for case in evaluated.bench.cases}
    worst = evaluated.videos.filter(checkpoint_sha256=own).sort(OVERALL, "case_id", nulls_last=False)
    left, sections = MOST_BYTES, []
    for case_id in worst["case_id"][:MOST_SHOWN]:
        section, taken = _case(evaluated, known[case_id], folder, left)
        left -= taken
        sections.append(section)
    rest = worst[MOST_SHOWN:]
    if rest.height:
        lines = [
            (row["case_id"], _figure(row[OVERALL]), row["status"], row["detail"] or "") for row in rest.iter_rows(named=True)
        ]
        sections.append("<h2>All others</h2>" + _table(("case", OVERALL, "status", "detail"), lines))
    return sections


def _case(evaluated: Evaluated, case: Case, folder: Path, left: int) -> tuple[str, int]:
    """The section of a case, and how many bytes of videos are in it."""
    videos = {row["checkpoint_sha256"]: row for row in evaluated.videos.filter(case_id=case.case_id).iter_rows(named=True)}
    given = f'<img class="given" alt="the given frame" src="{_given(evaluated, case)}">'
    figures = [f"<figure>{given}<figcaption>given</figcaption></figure>"]
    taken = 0
    for name, checkpoint in evaluated.models.items():
        row = videos.get(checkpoint)
        shown, size = _video(evaluated.root, row, folder, left - taken)
        taken += size
        figures.append(f"<figure>{shown}<figcaption>{escape(name)}: {_told(row)}</figcaption></figure>")
    frames = evaluated.frames.filter(case_id=case.case_id)
    lasted = [(row["frames"] - 1) / row["fps"] for row in videos.values() if row["frames"] is not None]
    target = target_yaws_deg(case, max(lasted, default=case.duration_s))
    drawn = _picture("Similarity and yaw, frame by frame", frames_png(frames, evaluated.models, target)) if frames.height else ""
    title = f"{case.case_id}: person {case.identity_id}, {case.yaw_bin}, {case.expression_bin}, {case.speaking_status}"
    text = f"<h3>{escape(title)}</h3><p>{escape(case.prompt)}</p>"
    return f'<div class="case">{text}{"".join(figures)}{drawn}</div>', taken


def _told(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "not evaluated"
    if row["video_path"] is None:
        return escape(f"{row['status']}: {row['detail']}")
    return f"{OVERALL} {_figure(row[OVERALL])}, likeness {_figure(row['likeness'])}, faces in {_figure(row['faces_found_share'])}"


def _video(root: Path, row: Mapping[str, Any] | None, folder: Path, left: int) -> tuple[str, int]:
    """The video, and how many bytes of it are in the page."""
    path = None if row is None or row["video_path"] is None else root / row["video_path"]
    if path is None or not path.is_file():
        return "<p>no video</p>", 0
    size = path.stat().st_size
    if size > left:
        address, size = quote(Path(os.path.relpath(path, folder)).as_posix()), 0
        link = f'<br><a href="{escape(address)}">{escape(path.name)}</a>'
    else:
        address, link = f"data:video/mp4;base64,{base64.b64encode(path.read_bytes()).decode()}", ""
    return f'<video controls loop muted preload="metadata" src="{escape(address)}"></video>{link}', size


def _given(evaluated: Evaluated, case: Case) -> str:
    from PIL import Image

    picture = Image.fromarray(read_bench_picture(evaluated.bench_dir, case.first_frame))
    picture.thumbnail((_FRAME_PX * 2, _FRAME_PX))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _picture(alt: str, png: bytes) -> str:
    return f'<img alt="{escape(alt)}" src="{png_address(png)}">'


def _figure(value: float | None) -> str:
    return "NULL" if value is None else f"{value:.3f}"


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "NULL"
    return f"{value:.3f}" + ("" if low is None or high is None else f" ({low:.3f} to {high:.3f})")


def _table(head: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> str:
    def line(cells: Sequence[Any], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"

    return "<table>" + line(head, "th") + "".join(line(row, "td") for row in rows) + "</table>"
