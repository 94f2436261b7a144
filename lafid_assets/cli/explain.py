"""`lafid explain CLIP`: everything that was measured and decided about one clip, and the frames that decided.

Belongs here: gathering and showing. Not here: which rule applies (`constraints.explanation`), drawing (`dataset.frame_strip`).
"""

from pathlib import Path
from typing import Any

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.table import Table

from lafid_assets.cli.display import CONSOLE
from lafid_assets.cli.published import Published, open_published
from lafid_assets.constraints.decision import RAW_MEASURES
from lafid_assets.constraints.explanation import RuleLine, TellingFrame, explain_rules, telling_frames
from lafid_assets.constraints.policies import FacePolicy
from lafid_assets.dataset.frame_strip import draw_strip
from lafid_assets.faces.sampling import frame_at
from lafid_assets.ingest.media_probe import resolve
from lafid_assets.outcomes import ClipError
from lafid_assets.schemas import FACE_FRAMES, FACE_INFO, OUTCOME_TABLES, POSE_FILTERED_CLIPS, RAW_CLIPS
from model.files import whole_file
from resources.settings import Settings

LONGEST_VALUE = 120
NOT_SHOWN = ("clip_id", "shard", "policy_settings", "fingerprint", "centroid")


class ClipUnknown(ValueError):
    """No clip of that id; the message names it and the remedy."""


def run_explain(settings: Settings, clip: str, out: Path | None) -> None:
    """Show every measure, every rule with the threshold it met or missed, and write the strip of telling frames.

    Args:
        clip: its id, or the beginning of it.
        out: the PNG to write; `explain/<clip>.png` in the home when None.

    Raises:
        ClipUnknown: no clip has that id, or several begin so.
    """
    with open_published(settings) as published:
        clip_id = _whole_id(published, clip)
        rows = {name: _row(published, name, clip_id) for name in OUTCOME_TABLES if name in published.names}
        lines = _rules(rows)
        frames = (
            telling_frames(
                published.table(FACE_INFO.name, clip_id=clip_id),
                published.table(FACE_FRAMES.name, clip_id=clip_id),
                rows.get(POSE_FILTERED_CLIPS.name, {}).get("reason"),
            )
            if FACE_INFO.name in published.names
            else []
        )
    for name, row in rows.items():
        _show_row(name, row)
        if name == POSE_FILTERED_CLIPS.name and lines:
            _show_rules(lines)
    _write_strip(rows[RAW_CLIPS.name], frames, out or settings.home / "explain" / f"{clip_id}.png")


def _whole_id(published: Published, clip: str) -> str:
    ids = published.table(RAW_CLIPS.name, ["clip_id"])["clip_id"]
    found = ids.filter(ids.str.starts_with(clip)).sort().to_list()
    if len(found) != 1:
        what = f"{len(found)} clips begin with {clip!r}" if found else f"there is no clip {clip!r}"
        raise ClipUnknown(f"{what} in {published.path}: `lafid query 'SELECT clip_id, path FROM raw_clips'` lists them")
    return str(found[0])


def _row(published: Published, table: str, clip_id: str) -> dict[str, Any]:
    rows = published.table(table, clip_id=clip_id)
    return rows.row(0, named=True) if rows.height else {}


def _rules(rows: dict[str, dict[str, Any]]) -> list[RuleLine]:
    decided = rows.get(POSE_FILTERED_CLIPS.name) or {}
    if not decided or decided["reasons"] is None:
        return []
    measures = {name: rows[RAW_CLIPS.name][name] for name in RAW_MEASURES} | decided
    return explain_rules(measures, decided["reasons"], FacePolicy.model_validate_json(decided["policy_settings"]))


def _show_row(name: str, row: dict[str, Any]) -> None:
    table = Table("measure", "value", title=name, title_justify="left", min_width=60)
    for column, value in row.items():
        if column not in NOT_SHOWN and value is not None:
            table.add_row(column, _short(value))
    CONSOLE.print(table if row else f"{name}: the clip did not come so far", markup=False)


def _show_rules(lines: list[RuleLine]) -> None:
    table = Table(title="face constraints, in their order", box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("rule", "measure", "measured", "asked for", ""):
        table.add_column(heading, no_wrap=True)
    for line in lines:
        measured, verdict = ("-", "not judged") if line.measured is None else (f"{line.measured:.4g}", "met")
        table.add_row(line.rule, line.measure, measured, line.demand, "[bold]missed[/]" if line.broken else verdict)
    CONSOLE.print(table)


def _short(value: Any) -> str:
    if isinstance(value, pl.Series):
        value = value.to_list()
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def _write_strip(raw: dict[str, Any], frames: list[TellingFrame], out: Path) -> None:
    try:
        path = resolve(Path(raw["clip_root"]), raw["path"])
        pictures = [
            (frame_at(path, frame.frame_index), f"{frame.time_s:.1f} s: {frame.why}") for frame in frames if path is not None
        ]
    except ClipError as error:
        CONSOLE.print(f"no pictures: {error}", markup=False)
        return
    if not pictures:
        CONSOLE.print("no pictures: " + ("no frame was analysed" if path is not None else "the file is gone"))
        return
    with whole_file(out) as temporary:
        temporary.write_bytes(draw_strip(pictures))
    CONSOLE.print(f"the frames that decided: {out}", soft_wrap=True, markup=False)
