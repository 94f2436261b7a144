"""`lafid explain CLIP`, by id or file name: everything that was measured and decided about one clip, and the frames that decided.

Belongs here: gathering and showing. Not here: which rule applies (each chapter's `explanation`), drawing (`dataset.frame_strip`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from lafid_assets import schemas
from lafid_assets.cli.display import CONSOLE, PlainConsole
from lafid_assets.constraints.explanation import TellingFrame, frames_around, in_words, telling_frames
from lafid_assets.constraints.window import WINDOW_COLUMNS
from lafid_assets.dataset.contact_sheet import draw_strip
from lafid_assets.faces.sampling import frame_at
from lafid_assets.ingest.clip_prefetch import at_hand
from lafid_assets.ingest.locate import locate
from lafid_assets.lake import open_lake
from lafid_assets.outcomes import KEPT, ClipError, Reason, Status
from lafid_assets.policy_settings import all_settings
from lafid_assets.review.clip_facts import ClipTables, Row, decision_of, ending_of, rules_of
from lafid_assets.review.marks import marks_of
from model.encoding.footage import Footage
from model.files import write_whole
from resources.lake.reader import Reader
from resources.settings import Settings
from resources.store.s3_objects import is_address

LONGEST_LIST = 120
RULES_WIDTH = 100
"""Whole names and numbers, even on a narrow terminal or in a pipe."""
NOT_SHOWN = ("clip_id", "shard", "policy_sha256", "scan_margins_sha256", "looks", "search_digest")


def run_explain(settings: Settings, clip: str, out: Path | None) -> dict[str, Any]:
    """Every measure, every rule with the threshold it met or missed, and the frames that decided.

    Args:
        clip: its id, or the beginning of it, or its file: the name, or the path from the clip root or as it lies on the disk. Of
            a file with cuts its shots are listed.
        out: a PNG to write of those frames; none when None.

    Returns:
        one object: `clip_id`, `shard`, `status`, `step` (where its way ended), `reason`, `said` (all that in words), of the
        dataset `identity_id` and `split`, `measures` (step to column to value, up to that step), `rules` (step to rules),
        `scan_margins`, `shots`, `frames`, and `picture`.
    """
    lake = open_lake(settings, read_only=True)
    with lake.snapshot() as reader:
        clip_id, shard = _whole_id(reader, clip)
        tables = ClipTables(reader, clip_id, shard)
        pictures = tables.row(schemas.PICTURE_MEASURES.name)
        rows = tables.outcomes()
        dataset = tables.row(schemas.LAFID_DATASET.name)
        frames = _frames(tables, rows)
        shots = _shots(reader, tables, clip_id, shard)
        said_by = all_settings(reader)
        marks = marks_of(reader, clip_id, decision_of(rows))
    rules = rules_of(rows, pictures, said_by)
    ending = ending_of(rows)
    reason = ending.row.get("reason")
    steps = list(rows)
    if ending.status != KEPT:
        steps = steps[: steps.index(ending.step) + 1]  # the later ones did not see the clip
    dropped_by = next((row["scan_margins_sha256"] for row in rows.values() if row.get("scan_verdict")), None)
    found = {
        "clip_id": clip_id,
        "shard": shard,
        "status": ending.status,
        "step": ending.step,
        "reason": reason,
        "said": in_words(ending.status, ending.step, reason, rules.get(ending.step, []), ending.row.get("detail")),
        "identity_id": dataset.get("identity_id"),
        "split": dataset.get("split"),
        "measures": {step: rows[step] for step in steps},
        "rules": {step: [asdict(line) for line in rules[step]] for step in steps if rules.get(step)},
        "scan_margins": None if dropped_by is None else json.loads(said_by[dropped_by]),
        "marks": [asdict(mark) | {"said": mark.in_words} for mark in marks],
        "shots": shots.select("piece_index", "start_s", "duration_s", "clip_id", "ended").to_dicts(),
        "frames": [asdict(frame) for frame in frames],
        "picture": None,
    }
    if out is not None and shots.is_empty():
        footage = locate(lake, shard, [clip_id]).get(clip_id)
        found["picture"] = _write_strip(footage, frames, out)
    return found


def show_explanation(found: Mapping[str, Any]) -> None:
    """Show the explanation to a person."""
    person = f" as {found['identity_id']}, {found['split']}" if found["identity_id"] else ""
    CONSOLE.print(f"{found['clip_id']}: {found['said']}{person}", style="bold")
    for name, row in found["measures"].items():
        _show_row(name, row)
        if name in found["rules"]:
            _show_rules(*_title(name, found["measures"]), found["rules"][name])
        if row.get("scan_verdict"):
            _show_margins(found["scan_margins"])
    if found["status"] != KEPT:
        CONSOLE.print("the steps after this one did not see the clip", style="dim")
    for mark in found["marks"]:
        CONSOLE.print(mark["said"])
    if found["shots"]:
        _show_shots(found["shots"])
    elif found["picture"] is not None:
        CONSOLE.print(f"the frames that decided: {found['picture']}")
    else:
        for frame in found["frames"]:
            CONSOLE.print(f"frame {frame['frame_index']}, {frame['time_s']:.1f} s: {frame['why']}")


def _whole_id(reader: Reader, clip: str) -> tuple[str, str]:
    """The clip's id and its shard."""
    found = reader.sql(f"SELECT clip_id, shard FROM {schemas.FOOTAGE.name} WHERE starts_with(clip_id, ?)", [clip]).rows()
    several, listed_in = "begin with", schemas.RAW_CLIPS.name
    if not found:
        # Of all files with its content; `raw_clips` shows one of them.
        several, listed_in = "have a file", schemas.CLIP_CONTENTS.name
        found = reader.sql(
            f"SELECT DISTINCT clip_id, clip_shard FROM {listed_in} WHERE "
            "path = ? OR ends_with(path, ?) OR clip_root || '/' || path = ?",
            [clip, f"/{clip}", clip if is_address(clip) else str(Path(clip).absolute())],
        ).rows()
    if len(found) != 1:
        what = f"{len(found)} clips {several} {clip!r}" if found else f"there is no clip {clip!r}"
        raise ValueError(f"{what}: `lafid query 'SELECT clip_id, path FROM {listed_in}'` lists them")
    return found[0]


def _shots(reader: Reader, tables: ClipTables, recording: str, shard: str) -> pl.DataFrame:
    """The shots of a file with cuts, in order of time, with `ended`; a clip has no rows."""
    shots = tables.rows_of(schemas.PIECES.name, "recording_id").sort("piece_index")
    ended = dict.fromkeys(shots["clip_id"], KEPT)
    for table in (schemas.PIECES.name, *list(schemas.OUTCOME_TABLES.values())[1:]):
        if shots.height and table in tables.written:
            ids = [clip_id for clip_id, how in ended.items() if how == KEPT]
            partition = shard if reader.tables[table].partitioned else None
            rows = reader.read(table, partition, ["clip_id", "status", "reason"], "list_contains(?, clip_id)", [ids])
            passed = {clip_id: f"{status}: {reason}" if reason else KEPT for clip_id, status, reason in rows.iter_rows()}
            ended |= {clip_id: passed.get(clip_id, f"{Status.SKIPPED}: {Reason.NOT_PROCESSED}") for clip_id in ids}
    return shots.with_columns(ended=pl.col("clip_id").replace_strict(ended, return_dtype=pl.String))


def _frames(tables: ClipTables, rows: dict[str, Row]) -> list[TellingFrame]:
    faces, frames = (tables.rows(table.name) for table in (schemas.FACE_INFO, schemas.FACE_FRAMES))
    identity = rows.get(schemas.ID_CONSISTENT_CLIPS.name, {})
    if identity.get("reason") == Reason.IDENTITY_CHANGE and identity["identity_break_frame"] is not None:
        return frames_around(faces, frames, identity["identity_break_frame"])
    decided = rows.get(schemas.POSE_FILTERED_CLIPS.name, {})
    dropped = rows.get(schemas.FACE_CLIPS.name, {}).get("scan_verdict")
    return telling_frames(faces, frames, dropped if decided.get("reason") == Reason.UPSTREAM else decided.get("reason"))


def _title(name: str, rows: Mapping[str, Row]) -> tuple[str, str, str]:
    """What stands above the rules of a step, and the words for met and missed."""
    row = rows[name]
    if name == schemas.SPEECH_TAGGED_CLIPS.name:
        start_s, end_s = (rows[schemas.POSE_FILTERED_CLIPS.name][name] for name in WINDOW_COLUMNS)
        when = "" if start_s is None else f" from {start_s:.2f} to {end_s:.2f} s"
        said = f"{row['speaking_status']}, because {row['speaking_reason']}"
        return f"who speaks{when}, policy {row['policy']}: {said}", "yes", "no"
    what = "face constraints" if name == schemas.POSE_FILTERED_CLIPS.name else "one person"
    return f"{what}, policy {row['policy']}, in their order", "met", "missed"


def _show_row(name: str, row: Row) -> None:
    table = Table("measure", "value", title=name, title_justify="left", min_width=60)
    for column, value in row.items():
        if column not in NOT_SHOWN and value is not None:
            table.add_row(column, Text(_short(value), overflow="fold"))
    CONSOLE.print(table if row else f"{name}: the clip did not come so far")


def _show_rules(title: str, met: str, missed: str, lines: Sequence[Mapping[str, Any]]) -> None:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("rule", "measure", "measured", "asked for", ""):
        table.add_column(heading, no_wrap=True)
    for line in lines:
        measured, verdict = ("-", "not judged") if line["measured"] is None else (f"{line['measured']:.4g}", met)
        measured += f" ({line['origin']})" if line["origin"] else ""
        table.add_row(
            line["rule"], line["measure"], measured, line["demand"], Text(missed, "bold") if line["broken"] else verdict
        )
    PlainConsole(width=max(CONSOLE.width, RULES_WIDTH)).print(table)


def _show_shots(shots: Sequence[Mapping[str, Any]]) -> None:
    table = Table("shot", "from s", "s", "clip", "ended", title="its shots are clips of their own", title_justify="left")
    for shot in shots:
        times = ("-" if shot[name] is None else f"{shot[name]:.2f}" for name in ("start_s", "duration_s"))
        table.add_row(str(shot["piece_index"]), *times, shot["clip_id"], shot["ended"])
    PlainConsole(width=max(CONSOLE.width, RULES_WIDTH)).print(table)


def _show_margins(margins: Mapping[str, Any]) -> None:
    """The scan's margins, which stand for the rules: none was judged of a clip that was dropped after a few looks."""
    scalars = {name: value for name, value in margins.items() if not isinstance(value, dict)}
    told = ", ".join(f"{name} {value}" for name, value in scalars.items())
    CONSOLE.print(f"the scan's margins: {told}; `--scan off` surveys every clip")


def _short(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if isinstance(value, str) or len(text) <= LONGEST_LIST else f"{text[:LONGEST_LIST]}..."


def _write_strip(footage: Footage | None, frames: list[TellingFrame], out: Path) -> str | None:
    """The picture's place; None, and a line that says why, where there is none to draw."""
    if footage is None or not frames:
        CONSOLE.print("no pictures: " + ("no frame was analysed" if footage is not None else "the file is gone"))
        return None
    try:
        with at_hand(footage):
            pictures = [(frame_at(footage, frame.frame_index), f"{frame.time_s:.1f} s: {frame.why}") for frame in frames]
    except ClipError as error:
        CONSOLE.print(f"no pictures: {error}")
        return None
    write_whole(out, draw_strip(pictures))
    return str(out)
