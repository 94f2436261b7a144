"""A shard of clips through child processes into the face tables; what is finished is never done again.

Belongs here: which clips are left to do, running them, putting the tables together, the error budget. Not here: what one clip
gives (`clip_analysis`), what an ending means (`clip_record`), writing tables (`step`).
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from lafid_assets.faces.clip_analysis import AnalysisSettings, ClipTask, analyse_clip, is_searched_first
from lafid_assets.faces.clip_record import Engine, Fingerprints, clip_frames, fingerprints, upstream_row
from lafid_assets.faces.shard_limits import ShardLimits
from lafid_assets.ingest.clip_prefetch import map_footage
from lafid_assets.ingest.tombstones import FORGOTTEN, Tombstones
from lafid_assets.outcomes import Reason, Status
from lafid_assets.progress import track
from lafid_assets.schemas import (
    CLIPS,
    FACE_CLIPS,
    FACE_EMBEDDINGS,
    FACE_FRAMES,
    FACE_INFO,
    PICTURE_HASHES,
    PIECES,
    RECORDINGS,
    SHOT_BOUNDARIES,
)
from lafid_assets.steps.contract import TableSchema
from lafid_assets.workers.exit_reasons import TRIED_AGAIN
from lafid_assets.workers.pool import Children, NotFetched
from model.encoding.footage import Footage, Piece, file_of, footage_in, passed_s, source_of
from resources.face_engine import gpu_feeders
from resources.lake.duckdb_extensions import literal
from resources.lake.reader import Reader
from resources.store.ledger import Ledger

LOGGER = logging.getLogger("lafid.faces")
TABLES = (FACE_INFO, FACE_EMBEDDINGS, FACE_FRAMES, PICTURE_HASHES, SHOT_BOUNDARIES, FACE_CLIPS, RECORDINGS, PIECES)
CLIP_COLUMNS = ("clip_id", "shard", "duration_s", "content_sha256", "status", "reason")
"""What is read of `clips`."""
FAILED = (Status.ERROR, Status.TIMEOUT)

Frames = Mapping[str, pl.DataFrame]
Row = Mapping[str, Any]
Reach = Callable[[Collection[str]], Mapping[str, Footage]]
"""Ids of whole files to where each lies; raises where one has no place."""


@dataclass(frozen=True)
class ShardRecipe:
    """All that decides how a shard's clips are analysed."""

    settings: AnalysisSettings
    limits: ShardLimits
    engine: Engine

    @property
    def prints(self) -> Fingerprints:
        """What a clip's rows depend on, besides its content."""
        return fingerprints(self.settings, self.limits, self.engine.info)


def analyse_shard(
    clips: pl.DataFrame,
    recipe: ShardRecipe,
    ledger: Ledger,
    reach: Reach,
    before: Frames | None = None,
    tombstones: Tombstones | None = None,
) -> Frames:
    """Analyse every clip that `clips` passed and that is not finished; the others are skipped. First the files, then the pieces
    of those that have cuts, each as a clip of its own.

    A clip that failed before is tried once more, up to three times in all. Rows reach the ledger while the shard is computed, and
    the tables are put together from what lies there and from `before`, in the same way after a kill as without one. What is
    finished is never opened again, and its file may be away.

    Args:
        clips: the shard's rows of `clips`, of which `CLIP_COLUMNS` are read.
        reach: asked for all files that are left, before the first is opened; and again for those that went away meanwhile.
        before: the shard's face tables as last written, None when there are none.
        tombstones: of what was forgotten and is not analysed again; None: nothing was.

    Returns:
        frames of `TABLES`.
    """
    files = {row["clip_id"]: row | _WHOLE for row in clips.sort("clip_id").iter_rows(named=True)}
    shard = _Shard(recipe, ledger, reach, [] if before is None else [before])
    shard.finish(files)
    pieces = shard.gather(PIECES, files, shard.sources())
    forgotten: dict[str, Row] = {}
    if tombstones is not None:
        pieces, split = tombstones.hide_forgotten_pieces(pieces), set(pieces["recording_id"])
        whole = {name: row for name, row in files.items() if _passed(row) and name not in split}
        forgotten = {name: row | FORGOTTEN for name, row in whole.items() if tombstones.know_part_of(row)}
    shots = {row["clip_id"]: row for row in pieces.iter_rows(named=True)}
    shard.finish(shots)
    rows, sources = files | shots | forgotten, shard.sources()
    frames = {table.name: shard.gather(table, rows, sources) for table in TABLES} | {PIECES.name: pieces}
    skipped = [
        upstream_row(row, recipe.settings, recipe.engine, recipe.prints) | (FORGOTTEN if name in forgotten else {})
        for name, row in rows.items()
        if not _passed(row)
    ]
    return frames | {FACE_CLIPS.name: FACE_CLIPS.frame(pl.concat([frames[FACE_CLIPS.name], FACE_CLIPS.frame(skipped)]))}


def written_before(reader: Reader, shard: str) -> Frames | None:
    """The shard's face tables as they lie in the lake; None where they were never written."""
    names = [table.name for table in TABLES]
    if len(reader.stamps(names, [shard])) < len(names):
        return None
    return {name: reader.read(name, shard) for name in names}


def waiting_or_broken(prints: Fingerprints, limits: ShardLimits) -> str:
    """SQL that lists, as `shard`, the shards with a clip that waits for another try, and those that are over the error budget."""
    again, failed = ", ".join(map(literal, sorted(TRIED_AGAIN))), ", ".join(map(literal, FAILED))
    quarantined = f"reason = {literal(Reason.QUARANTINED)}"
    return f"""
        SELECT shard FROM {FACE_CLIPS.name}
        WHERE reason IN ({again}) OR ({quarantined} AND fingerprint <> {literal(prints.trial)})
        UNION
        SELECT shard FROM (
            SELECT shard, coalesce(status IN ({failed}) OR {quarantined}, false) AS failed
            FROM {FACE_CLIPS.name} WHERE attempts > 0
            UNION ALL SELECT shard, true AS failed FROM {CLIPS.name} WHERE status IN ({failed})
        ) GROUP BY shard
        HAVING count(*) FILTER (failed) > greatest({limits.errors_always_allowed}, {limits.error_budget} * count(*))
    """


def over_budget(face_clips: pl.DataFrame, clips: pl.DataFrame, limits: ShardLimits) -> str | None:
    """What to say when more clips failed than may, of those that were tried; None when all is well.

    `waiting_or_broken` counts alike. A file that `clips` could not read has failed, too: a disk that gives nothing but errors
    must not look like an empty one.
    """
    unread = clips.filter(pl.col("status").is_in(FAILED))
    analysed = face_clips.filter(pl.col("attempts") > 0)
    failed = analysed.filter(pl.col("status").is_in(FAILED) | (pl.col("reason") == Reason.QUARANTINED))
    tried, count = analysed.height + unread.height, failed.height + unread.height
    if count <= max(limits.errors_always_allowed, limits.error_budget * tried):
        return None
    reasons = pl.concat([failed["reason"], unread["reason"]]).value_counts().sort("count", "reason", descending=[True, False])
    return (
        f"{count} of {tried} clips failed ({', '.join(f'{reason} {number}' for reason, number in reasons.rows())}), "
        f"more than the error budget of {limits.error_budget:.1%} allows: see the detail in face_clips and raw_clips; what could "
        "be measured is written, and the next run tries only the failed clips"
    )


@dataclass(frozen=True)
class _KnownRow:
    """The latest row of `face_clips` that still counts for a clip, and in which source its rows lie."""

    source: int
    attempts: int
    reason: str | None


_WHOLE = {"recording_id": None, "first_pts": None, "last_pts": None, "keyframe_pts": None, "start_s": None}


@dataclass(frozen=True)
class _Shard:
    """A shard at work.

    Attributes:
        last: the face tables as last written; none when they never were.
    """

    recipe: ShardRecipe
    ledger: Ledger
    reach: Reach
    last: Sequence[Frames]

    def finish(self, rows: Mapping[str, Row]) -> None:
        """Analyse what is not finished of these clips; the ledger has it then.

        Args:
            rows: by clip id, of `clips` or of `pieces`.
        """
        known = self._known(rows, self.sources())
        settled = {clip_id for clip_id, row in known.items() if row.source >= len(self.last) or row.reason not in TRIED_AGAIN}
        tries = {clip_id: row.attempts for clip_id, row in known.items()}
        left = [clip_id for clip_id, row in rows.items() if _passed(row) and clip_id not in settled]
        if settled:
            LOGGER.info("face_info: %d clips are finished already, %d are left", len(settled), len(left))
        while left:
            places = self.reach({_file_id(rows[clip_id]) for clip_id in left})
            tasks = [_task(rows[clip_id], places[_file_id(rows[clip_id])], self.recipe) for clip_id in left]
            left = _run(tasks, tries, self.recipe, self.ledger)

    def gather(self, table: TableSchema, rows: Mapping[str, Row], sources: Sequence[Frames]) -> pl.DataFrame:
        """The table's rows of these clips, each from its own source; the engine is named as it was asked for now."""
        ids: list[list[str]] = [[] for _ in sources]
        for clip_id, row in self._known(rows, sources).items():
            ids[row.source].append(clip_id)
        owner = "recording_id" if table is PIECES else "clip_id"
        found = [source[table.name].filter(pl.col(owner).is_in(own)) for source, own in zip(sources, ids, strict=True)]
        gathered = pl.concat([table.frame([]), *found])
        columns = self.recipe.engine.columns.items()
        return table.frame(gathered.with_columns(pl.lit(value).alias(name) for name, value in columns if name in table.dtypes))

    def _known(self, rows: Mapping[str, Row], sources: Sequence[Frames]) -> dict[str, "_KnownRow"]:
        contents = {clip_id: row["content_sha256"] for clip_id, row in rows.items() if _passed(row)}
        return _known_rows(contents, self.recipe.prints, sources)

    def sources(self) -> list[Frames]:
        """Where finished rows lie, oldest first."""
        return [*self.last, *self.ledger.read()]


def _passed(row: Row) -> bool:
    return bool(row["status"] == Status.OK)


def _file_id(row: Row) -> str:
    return str(row["recording_id"] or row["clip_id"])


def _known_rows(contents: Mapping[str, str | None], prints: Fingerprints, sources: Sequence[Frames]) -> dict[str, _KnownRow]:
    """By clip id. A later source takes over with a later try only: what is written again was there before.

    Args:
        contents: clip id to the hash of its file.
    """
    known: dict[str, _KnownRow] = {}
    for number, source in enumerate(sources):
        for row in source[FACE_CLIPS.name].iter_rows(named=True):
            clip_id = row["clip_id"]
            if clip_id not in contents or not prints.still_counts(row, contents[clip_id]):
                continue
            if clip_id not in known or row["attempts"] > known[clip_id].attempts:
                known[clip_id] = _KnownRow(number, row["attempts"], row["reason"])
    return known


def _run(left: Sequence[ClipTask], tries: Mapping[str, int], recipe: ShardRecipe, ledger: Ledger) -> list[str]:
    """Give each clip to a child, once, and its rows to the ledger. A clip whose file went away meanwhile is returned instead."""
    limits = recipe.limits
    feeders = gpu_feeders(recipe.settings.engine_choice)
    children = Children(limits.workers or len(feeders) or None, feeders, limits.of_child)

    def deadline_s(task: ClipTask) -> float:
        return limits.deadline_s(task.duration_s) + limits.search_s_per_s * task.only_decoded_s

    endings = map_footage(analyse_clip, left, deadline_s, children, footage_of=lambda task: task.footage, keep=True)
    away = []
    with ledger.writing() as parts:
        for index, ending in track(endings, f"face_info {left[0].shard}", len(left)):
            task = left[index]
            frames = clip_frames(task, ending, tries.get(task.clip_id, 0) + 1, recipe.engine, recipe.prints)
            [row] = frames[FACE_CLIPS.name].iter_rows(named=True)
            passed = row["status"] in (Status.OK, Status.REJECTED) or row["reason"] == Reason.SPLIT
            if not passed and not isinstance(ending, NotFetched) and not file_of(task.footage).exists():
                away.append(task.clip_id)
                continue
            parts.add(frames)
            if not passed:
                LOGGER.warning("face_info: %s (%s): %s, %s", task.clip_id, source_of(task.footage), row["reason"], row["detail"])
    return away


def _task(row: Row, place: Footage, recipe: ShardRecipe) -> ClipTask:
    footage, duration_s = footage_in(source_of(place), row), row["duration_s"]
    is_searched = not isinstance(footage, Piece) and is_searched_first(duration_s, recipe.settings)
    decoded_s = duration_s if is_searched else passed_s(footage)
    return ClipTask(row["clip_id"], row["shard"], footage, duration_s, row["content_sha256"], recipe.settings, decoded_s)
