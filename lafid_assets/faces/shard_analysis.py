"""A shard of clips through child processes into the three face tables; what is finished is never done again.

Belongs here: which clips are left to do, running them, putting the tables together, the error budget. Not here: what one clip
gives (`clip_analysis`), what an ending means (`clip_record`), writing tables (`step`).
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from lafid_assets.contract import TableSchema
from lafid_assets.faces.clip_analysis import AnalysisSettings, ClipTask, analyse_clip
from lafid_assets.faces.clip_record import TRIED_AGAIN, Engine, Fingerprints, clip_frames, fingerprints, upstream_row
from lafid_assets.faces.shard_limits import ShardLimits
from lafid_assets.outcomes import Reason, Status
from lafid_assets.progress import track
from lafid_assets.schemas import FACE_CLIPS, FACE_FRAMES, FACE_INFO
from lafid_assets.workers import map_isolated
from resources.face_engine import gpu_feeders
from resources.ledger import Ledger
from resources.shard_store import ShardStore

LOGGER = logging.getLogger("lafid.faces")
TABLES = (FACE_INFO, FACE_FRAMES, FACE_CLIPS)
FAILED = (Status.ERROR, Status.TIMEOUT)

Frames = Mapping[str, pl.DataFrame]


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


def analyse_shard(clips: pl.DataFrame, recipe: ShardRecipe, ledger: Ledger, before: Frames | None = None) -> Frames:
    """Analyse every clip that `raw_clips` passed and that is not finished; the others are skipped.

    A clip that failed before is tried once more, up to three times in all. Rows reach the ledger while the shard is computed, and
    the tables are put together from what lies there and from `before`, in the same way after a kill as without one.

    Args:
        clips: the shard's rows of `raw_clips`.
        before: the shard's face tables as last written, None when there are none.

    Returns:
        frames of `face_info`, `face_frames` and `face_clips`.
    """
    rows = clips.sort("clip_id").to_dicts()
    tasks = [_task(row, recipe.settings) for row in rows if row["status"] == Status.OK]
    last = [] if before is None else [before]
    known = _known_rows(tasks, recipe.prints, [*last, *ledger.read()])
    settled = {clip_id for clip_id, row in known.items() if row.source >= len(last) or row.reason not in TRIED_AGAIN}
    tries = {clip_id: row.attempts for clip_id, row in known.items()}
    _run([task for task in tasks if task.clip_id not in settled], len(settled), tries, recipe, ledger)
    sources = [*last, *ledger.read()]
    known = _known_rows(tasks, recipe.prints, sources)
    frames = {table.name: _gather(table, known, sources, recipe.engine) for table in TABLES}
    skipped = [upstream_row(row, recipe.settings, recipe.engine, recipe.prints) for row in rows if row["status"] != Status.OK]
    return frames | {FACE_CLIPS.name: FACE_CLIPS.frame(pl.concat([frames[FACE_CLIPS.name], FACE_CLIPS.frame(skipped)]))}


def written_before(store: ShardStore, shard: str) -> Frames | None:
    """The shard's face tables as they lie in the store; None unless all are there in today's form."""
    names = [table.name for table in TABLES]
    stamps = [store.stamp(name, shard) for name in names]
    if len({None if stamp is None else stamp.group for stamp in stamps}) != 1 or stamps[0] is None:
        return None
    if any(store.read_form(table.name, shard) != pl.Schema(table.dtypes) for table in TABLES):
        return None
    return {name: store.read_table(name, shard) for name in names}


def is_settled(face_clips: pl.DataFrame, prints: Fingerprints) -> bool:
    """Whether no clip of the shard waits for another try."""
    waiting = face_clips.filter(
        pl.col("reason").is_in(list(TRIED_AGAIN))
        | ((pl.col("reason") == Reason.QUARANTINED) & (pl.col("fingerprint") != prints.trial))
    )
    return waiting.is_empty()


def over_budget(face_clips: pl.DataFrame, raw_clips: pl.DataFrame, limits: ShardLimits) -> str | None:
    """What to say when more clips failed than may, of those that were tried; None when all is well.

    A file that `raw_clips` could not read has failed, too: a disk that gives nothing but errors must not look like an empty one.
    """
    unread = raw_clips.filter(pl.col("status").is_in(FAILED))
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


def _known_rows(tasks: Sequence[ClipTask], prints: Fingerprints, sources: Sequence[Frames]) -> dict[str, _KnownRow]:
    """By clip id. A later source takes over with a later try only: what is written again was there before."""
    contents = {task.clip_id: task.content_sha256 for task in tasks}
    known: dict[str, _KnownRow] = {}
    for number, source in enumerate(sources):
        for row in source[FACE_CLIPS.name].iter_rows(named=True):
            clip_id = row["clip_id"]
            if clip_id not in contents or not prints.still_counts(row, contents[clip_id]):
                continue
            if clip_id not in known or row["attempts"] > known[clip_id].attempts:
                known[clip_id] = _KnownRow(number, row["attempts"], row["reason"])
    return known


def _run(left: Sequence[ClipTask], finished: int, tries: Mapping[str, int], recipe: ShardRecipe, ledger: Ledger) -> None:
    """Give each clip to a child, once, and its rows to the ledger."""
    if finished:
        LOGGER.info("face_info: %d clips are finished already, %d are left", finished, len(left))
    limits = recipe.limits
    feeders = gpu_feeders(recipe.settings.engine_choice)
    workers = limits.workers or len(feeders) or None
    endings = map_isolated(analyse_clip, left, lambda task: limits.deadline_s(task.duration_s), workers, limits.of_child, feeders)
    with ledger.writing() as parts:
        for index, ending in track(endings, f"face_info {left[0].shard}" if left else "face_info", len(left)):
            task = left[index]
            frames = clip_frames(task, ending, tries.get(task.clip_id, 0) + 1, recipe.engine, recipe.prints)
            parts.add(frames)
            [row] = frames[FACE_CLIPS.name].iter_rows(named=True)
            if row["status"] not in (Status.OK, Status.REJECTED):
                LOGGER.warning("face_info: %s (%s): %s, %s", task.clip_id, task.path, row["reason"], row["detail"])


def _gather(table: TableSchema, known: Mapping[str, _KnownRow], sources: Sequence[Frames], engine: Engine) -> pl.DataFrame:
    """The table's rows of all known clips, each from its own source; the engine is named as it was asked for now."""
    ids: list[list[str]] = [[] for _ in sources]
    for clip_id, row in known.items():
        ids[row.source].append(clip_id)
    found = [source[table.name].filter(pl.col("clip_id").is_in(own)) for source, own in zip(sources, ids, strict=True)]
    rows = pl.concat([table.frame([]), *found])
    return table.frame(rows.with_columns(pl.lit(value).alias(name) for name, value in engine.columns.items()))


def _task(row: Mapping[str, Any], settings: AnalysisSettings) -> ClipTask:
    return ClipTask(
        clip_id=row["clip_id"],
        shard=row["shard"],
        clip_root=Path(row["clip_root"]),
        path=row["path"],
        duration_s=row["duration_s"],
        content_sha256=row["content_sha256"],
        settings=settings,
    )
