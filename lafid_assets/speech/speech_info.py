"""`speech_info`: what is heard, and how the lips move. Measures only.

Belongs here: the asset, and turning endings of children into outcomes. Not here: measuring (`measures`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from lafid_assets.endings import fault_of
from lafid_assets.ingest.media_probe import resolve
from lafid_assets.outcomes import ClipError, Reason, Status
from lafid_assets.progress import track
from lafid_assets.schemas import ID_CONSISTENT_CLIPS, RAW_CLIPS, SPEECH_INFO
from lafid_assets.speech.lips import LipSettings
from lafid_assets.speech.measures import SpeechSettings, measure_speech
from lafid_assets.speech.transcript import GivenTranscript, Transcriber, WhisperTranscriber
from lafid_assets.speech.transcript_files import TranscriptFile, read_transcripts
from lafid_assets.speech.voice import VoiceSettings
from lafid_assets.speech.whisper_models import AUTO, WhisperChoice, choose_whisper
from lafid_assets.step import Frames, Step
from lafid_assets.workers import Done, Ending, map_isolated
from model.face_engine.interface import FaceEngine
from resources.face_engine import EngineChoice, engine_reason, face_engine_info, load_face_engine, model_store
from resources.shard_store import ShardStore
from resources.warehouse import Warehouse

STEP = Step(writes=(SPEECH_INFO,), reads=(RAW_CLIPS.name, ID_CONSISTENT_CLIPS.name), group="speech", code_version="3")
LEAST_DEADLINE_S = 60.0
DEADLINE_PER_CLIP_S = 20.0


class VoiceConfig(dg.Config, VoiceSettings):
    """When sound counts as voice."""


class LipConfig(dg.Config, LipSettings):
    """How densely and how long lips are looked at."""


class SpeechInfoConfig(dg.Config, EngineChoice):
    """Which engine looks at the lips, and how clips are listened to and looked at."""

    transcripts: str | None = Field(
        None, description="Transcripts made elsewhere, by clip id: a .csv, a .json or a folder of .srt; they go before a model's"
    )
    whisper: str = Field(
        AUTO,
        description="Speech model: auto (the largest in the model store, where it holds any), none, or its name",
    )
    whisper_dir: str | None = Field(None, description="Folder of a CTranslate2 Whisper model, instead of one of the model store")
    whisper_language: str | None = Field(
        None, description="Code of the language where all clips share one; else detected per clip"
    )
    voice: VoiceConfig = Field(default_factory=VoiceConfig)
    lips: LipConfig = Field(default_factory=LipConfig)


@dataclass(frozen=True)
class SpeechTask:
    """One clip to measure. Plain values: it crosses a process border."""

    clip_root: Path
    path: str
    duration_s: float | None
    engine: EngineChoice
    given: GivenTranscript | None
    whisper_dir: Path | None
    whisper_language: str | None
    settings: SpeechSettings


@dg.asset(**STEP.arguments(deps=["id_consistent_clips"]))
def speech_info(
    context: dg.AssetExecutionContext,
    config: SpeechInfoConfig,
    store: dg.ResourceParam[ShardStore],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult:
    """Voice spans, mouth opening over them and how the two go together, for every clip that is one person all along."""
    shard = context.partition_key
    clips = store.read_table(ID_CONSISTENT_CLIPS.name, shard)
    files = store.read_table(RAW_CLIPS.name, shard).select("clip_id", "clip_root", "path", "duration_s")
    transcripts = None if config.transcripts is None else read_transcripts(Path(config.transcripts))
    whisper = _choose_whisper(config)
    return STEP.materialize(
        context,
        config,
        store,
        warehouse,
        lambda: {SPEECH_INFO.name: measure_shard(clips.join(files, on="clip_id"), config, whisper, transcripts)},
        clips_in=clips["clip_id"],
        outside=[face_engine_info(_choice(config)).fingerprint, whisper.sha256, transcripts and transcripts.sha256],
        metadata=lambda frames: _sources(frames, whisper),
    )


def measure_shard(
    clips: pl.DataFrame, config: SpeechInfoConfig, whisper: WhisperChoice, transcripts: TranscriptFile | None
) -> pl.DataFrame:
    """Measure every kept clip in child processes; the others are skipped.

    Args:
        clips: rows of `id_consistent_clips` with the columns that find the file.
        whisper: the speech model for clips of which `transcripts` says nothing.
    """
    rows = clips.sort("clip_id").to_dicts()
    kept = [row for row in rows if row["keep"]]
    settings = SpeechSettings(voice=config.voice, lips=config.lips)
    choice = _choice(config)
    tasks = [
        SpeechTask(
            Path(row["clip_root"]),
            row["path"],
            row["duration_s"],
            choice,
            _given(row["clip_id"], transcripts),
            whisper.folder,
            config.whisper_language,
            settings,
        )
        for row in kept
    ]
    measured: dict[str, dict[str, Any]] = {}
    endings = map_isolated(measure_task, tasks, _deadline_s)
    for index, ending in track(endings, f"speech_info {clips['shard'][0]}" if rows else "speech_info", len(tasks)):
        given = tasks[index].given is not None
        source = {
            "transcriber_reason": "the file holds it" if given else whisper.reason,
            "transcriber_licence": None if given else whisper.licence,
        }
        measured[kept[index]["clip_id"]] = source | _outcome(ending)
    engine = _engine_columns(choice)
    return SPEECH_INFO.frame(_row(row, measured.get(row["clip_id"])) | engine for row in rows)


def measure_task(task: SpeechTask) -> dict[str, Any]:
    """Runs in a child: the measures as columns, or the clip's fault as its status."""
    try:
        path = resolve(task.clip_root, task.path)
        if path is None:
            raise ClipError(Reason.UNREADABLE, "the file has disappeared since it was probed: materialize raw_clips again")
        measures = measure_speech(path, _engine(task.engine), task.settings, _transcriber(task))
    except ClipError as error:
        return {"status": Status.ERROR, "reason": error.reason, "detail": error.detail}
    return measures.as_row() | {"status": Status.OK, "reason": None, "detail": None}


def _choice(config: SpeechInfoConfig) -> EngineChoice:
    """The part of the config that names the engine: plain values that cross a process border."""
    return EngineChoice(**{name: getattr(config, name) for name in EngineChoice.model_fields})


@lru_cache(maxsize=1)
def _engine(choice: EngineChoice) -> FaceEngine:
    return load_face_engine(choice)


def _engine_columns(choice: EngineChoice) -> dict[str, str]:
    info = face_engine_info(choice)
    return {
        "engine": info.name,
        "engine_version": info.version,
        "engine_licence": info.licence,
        "engine_reason": engine_reason(choice),
    }


def _given(clip_id: str, transcripts: TranscriptFile | None) -> GivenTranscript | None:
    """What the file says of the clip; None where it says nothing."""
    if transcripts is None or clip_id not in transcripts.segments:
        return None
    return GivenTranscript(f"file: {transcripts.name}", transcripts.segments[clip_id])


def _transcriber(task: SpeechTask) -> Transcriber | None:
    if task.given is not None or task.whisper_dir is None:
        return task.given
    return _whisper(task.whisper_dir, task.whisper_language, task.settings.voice)


@lru_cache(maxsize=1)
def _whisper(model_dir: Path, language: str | None, voice: VoiceSettings) -> WhisperTranscriber:
    return WhisperTranscriber(model_dir, language, voice)


def _choose_whisper(config: SpeechInfoConfig) -> WhisperChoice:
    """The speech model. A name or folder that holds none is refused here, before any clip is touched."""
    whisper_dir = None if config.whisper_dir is None else Path(config.whisper_dir)
    return choose_whisper(config.whisper, whisper_dir, model_store())


def _sources(frames: Frames, whisper: WhisperChoice) -> dict[str, str]:
    """Where the transcripts came from."""
    counts = frames[SPEECH_INFO.name]["transcriber"].drop_nulls().value_counts().sort("transcriber")
    return {
        "whisper": whisper.folder.name if whisper.folder else "none",
        "whisper_reason": whisper.reason,
        "transcribers": ", ".join(f"{name} ({clips} clips)" for name, clips in counts.iter_rows()) or "none",
    }


def _deadline_s(task: SpeechTask) -> float:
    return LEAST_DEADLINE_S + DEADLINE_PER_CLIP_S * (task.duration_s or 0.0)


def _outcome(ending: Ending[dict[str, Any]]) -> dict[str, Any]:
    return ending.value if isinstance(ending, Done) else fault_of(ending)._asdict()


def _row(row: Mapping[str, Any], measured: dict[str, Any] | None) -> dict[str, Any]:
    unmeasured = dict.fromkeys(SPEECH_INFO.dtypes) | {"clip_id": row["clip_id"], "shard": row["shard"]}
    if measured is None:
        upstream = f"id_consistent_clips: {row['reason']}"
        return unmeasured | {"status": Status.SKIPPED, "reason": Reason.UPSTREAM, "detail": upstream}
    return unmeasured | measured
