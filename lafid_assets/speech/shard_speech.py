"""A shard of clips through child processes into `speech_info`; what is measured is never measured again.

Belongs here: which clips are left to do, running them, endings of children -> outcomes. Not here: measuring (`measures`), the
asset and its config (`speech_info`).
"""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl

from lafid_assets.ingest.clip_prefetch import map_footage
from lafid_assets.outcomes import ClipError, Reason, Status
from lafid_assets.progress import track
from lafid_assets.schemas import SPEECH_INFO
from lafid_assets.speech.clip_window import is_seen
from lafid_assets.speech.measures import SpeechSettings, measure_speech
from lafid_assets.speech.transcript import GivenTranscript, Transcriber, WhisperTranscriber
from lafid_assets.speech.transcript_files import TranscriptFile, segments_within
from lafid_assets.speech.voice import Span, VoiceSettings
from lafid_assets.speech.whisper_models import WhisperChoice
from lafid_assets.workers.exit_reasons import TRIED_AGAIN, fault_of
from lafid_assets.workers.pool import Done, NotFetched
from model.encoding.footage import Footage, file_of, passed_s
from model.face_engine.interface import FaceEngine
from resources.face_engine import EngineChoice, engine_reason, face_engine_info, load_face_engine

CODE_VERSION = "8"
LEAST_DEADLINE_S = 60.0
DEADLINE_PER_CLIP_S = 20.0

Row = Mapping[str, Any]
Reach = Callable[[Collection[str]], Mapping[str, Footage]]
"""Clip ids to where each lies; raises where one has no place."""


@dataclass(frozen=True)
class SpeechRecipe:
    """All that decides how a shard's clips are listened to and looked at.

    Attributes:
        whisper: the speech model for clips of which `transcripts` says nothing.
    """

    engine: EngineChoice
    settings: SpeechSettings
    whisper: WhisperChoice
    language: str | None
    transcripts: TranscriptFile | None

    def given(self, row: Row) -> GivenTranscript | None:
        """What the file of transcripts says of the clip, or of the recording that it is a piece of; None where it says nothing.

        Args:
            row: its id, and of a piece `recording_id`, `start_s` and `duration_s`.
        """
        known = {} if self.transcripts is None else self.transcripts.segments
        if row["clip_id"] in known:
            segments = known[row["clip_id"]]
        elif row["recording_id"] in known:
            segments = segments_within(known[row["recording_id"]], row["start_s"], row["start_s"] + row["duration_s"])
        else:
            return None
        return GivenTranscript(f"file: {self.transcripts.name}" if self.transcripts else "", segments)

    def measured_from(self, row: Row, engine_fingerprint: str) -> str:
        """Hash of whatever the clip's measures depend on.

        Args:
            row: its id, content and interval.
        """
        given = self.given(row)
        words = [self.whisper.sha256, self.language] if given is None else asdict(given)
        facts = [CODE_VERSION, engine_fingerprint, self.settings.model_dump(), words, row["content_sha256"]]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class SpeechTask:
    """One clip to measure. Plain values: it crosses a process border."""

    footage: Footage
    duration_s: float | None
    engine: EngineChoice
    given: GivenTranscript | None
    whisper_dir: Path | None
    whisper_language: str | None
    settings: SpeechSettings
    window: Span


def measure_shard(clips: pl.DataFrame, recipe: SpeechRecipe, reach: Reach, before: pl.DataFrame | None = None) -> pl.DataFrame:
    """A row of `speech_info` for every clip: kept ones are measured unless they were, the others skipped.

    Args:
        clips: `clip_id`, `shard`, `keep` and `reason` of `id_consistent_clips`, `duration_s`, `content_sha256`, `recording_id`
            and `start_s` of `footage`, the window of `pose_filtered_clips`.
        reach: asked for all clips that are left, before the first is opened; and again for those whose file went away meanwhile.
        before: the shard's rows as last written, None when there are none.
    """
    rows = clips.sort("clip_id").to_dicts()
    info = face_engine_info(recipe.engine)
    kept = {row["clip_id"]: row | {"measured_from": recipe.measured_from(row, info.fingerprint)} for row in rows if row["keep"]}
    measured = {} if before is None else _still_counting(before, kept, recipe.settings)
    left = [clip_id for clip_id in kept if clip_id not in measured]
    while left:
        places = reach(set(left))
        measured |= _run([kept[clip_id] for clip_id in left], places, recipe)
        left = [clip_id for clip_id in left if clip_id not in measured]
    engine = {
        "engine": info.name,
        "engine_version": info.version,
        "engine_licence": info.licence,
        "engine_reason": engine_reason(recipe.engine),
    }
    return SPEECH_INFO.frame(_row(row, measured.get(row["clip_id"]), recipe) | engine for row in rows)


def measure_task(task: SpeechTask) -> dict[str, Any]:
    """Runs in a child: the measures as columns, or the clip's fault as its status."""
    try:
        measures = measure_speech(task.footage, _engine(task.engine), task.settings, _transcriber(task), task.window)
    except ClipError as error:
        return {"status": Status.ERROR, "reason": error.reason, "detail": error.detail}
    return measures.as_row() | {"status": Status.OK, "reason": None, "detail": None}


def _still_counting(before: pl.DataFrame, kept: Mapping[str, Row], settings: SpeechSettings) -> dict[str, Row]:
    """Rows that still say all that is asked, by clip id; a clip that failed is tried again where that may help.

    Another window asks for other looks only in a clip with more voice than is looked at.
    """
    again = pl.col("reason").is_in(list(TRIED_AGAIN)).fill_null(False)
    rows = (row for row in before.filter(~again).iter_rows(named=True) if row["clip_id"] in kept)
    as_now = {row["clip_id"]: row for row in rows if row["measured_from"] == kept[row["clip_id"]]["measured_from"]}
    return {clip_id: row for clip_id, row in as_now.items() if is_seen(row, _window(kept[clip_id]), settings.lips.fps)}


def _window(row: Row) -> Span:
    """The seconds of which it has to be told who speaks; of a whole clip none in particular."""
    return Span(0.0, 0.0) if row["window_start_s"] is None else Span(row["window_start_s"], row["window_end_s"])


def _run(left: Sequence[Row], places: Mapping[str, Footage], recipe: SpeechRecipe) -> dict[str, Row]:
    """Give each clip to a child, once; what came of it, but of a clip whose file went away meanwhile."""
    tasks = [
        SpeechTask(
            places[row["clip_id"]],
            row["duration_s"],
            recipe.engine,
            recipe.given(row),
            recipe.whisper.folder,
            recipe.language,
            recipe.settings,
            _window(row),
        )
        for row in left
    ]
    measured: dict[str, Row] = {}
    endings = map_footage(measure_task, tasks, _deadline_s, footage_of=lambda task: task.footage, keep=True)
    for index, ending in track(endings, f"speech_info {left[0]['shard']}", len(tasks)):
        outcome = ending.value if isinstance(ending, Done) else fault_of(ending)._asdict()
        is_settled = outcome["status"] == Status.OK or isinstance(ending, NotFetched)
        if is_settled or file_of(tasks[index].footage).exists():
            measured[left[index]["clip_id"]] = outcome | {"measured_from": left[index]["measured_from"]}
    return measured


@lru_cache(maxsize=1)
def _engine(choice: EngineChoice) -> FaceEngine:
    return load_face_engine(choice)


def _transcriber(task: SpeechTask) -> Transcriber | None:
    if task.given is not None or task.whisper_dir is None:
        return task.given
    return _whisper(task.whisper_dir, task.whisper_language, task.settings.voice)


@lru_cache(maxsize=1)
def _whisper(model_dir: Path, language: str | None, voice: VoiceSettings) -> WhisperTranscriber:
    return WhisperTranscriber(model_dir, language, voice)


def _deadline_s(task: SpeechTask) -> float:
    return LEAST_DEADLINE_S + DEADLINE_PER_CLIP_S * ((task.duration_s or 0.0) + passed_s(task.footage))


def _row(row: Row, measured: Row | None, recipe: SpeechRecipe) -> dict[str, Any]:
    """The row of `speech_info` without the engine's columns; how it came to its words is told as it is now."""
    own = dict.fromkeys(SPEECH_INFO.dtypes) | {"clip_id": row["clip_id"], "shard": row["shard"]}
    if measured is None:
        upstream = f"id_consistent_clips: {row['reason']}"
        return own | {"status": Status.SKIPPED, "reason": Reason.UPSTREAM, "detail": upstream}
    given = recipe.given(row) is not None
    source = {
        "transcriber_reason": "the file holds it" if given else recipe.whisper.reason,
        "transcriber_licence": None if given else recipe.whisper.licence,
    }
    return own | dict(measured) | source
