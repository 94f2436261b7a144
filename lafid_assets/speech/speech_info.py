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

from lafid_assets.ingest.media_probe import resolve
from lafid_assets.outcomes import ClipError, Reason, Status
from lafid_assets.progress import track
from lafid_assets.schemas import ID_CONSISTENT_CLIPS, RAW_CLIPS, SPEECH_INFO
from lafid_assets.speech.lips import LipSettings
from lafid_assets.speech.measures import SpeechSettings, measure_speech
from lafid_assets.speech.transcript import Transcriber, WhisperTranscriber
from lafid_assets.speech.voice import VoiceSettings
from lafid_assets.step import Step
from lafid_assets.workers import Crashed, Done, Ending, Failed, map_isolated
from model.face_engine.interface import FaceEngine
from model.files import sha256_file
from resources.face_engine import face_engine_info, load_face_engine
from resources.shard_store import ShardStore
from resources.warehouse import Warehouse

STEP = Step(writes=(SPEECH_INFO,), reads=(RAW_CLIPS.name, ID_CONSISTENT_CLIPS.name), group="speech", code_version="1")
LEAST_DEADLINE_S = 60.0
DEADLINE_PER_CLIP_S = 20.0


class VoiceConfig(dg.Config, VoiceSettings):
    """When sound counts as voice."""


class LipConfig(dg.Config, LipSettings):
    """How densely and how long lips are looked at."""


class SpeechInfoConfig(dg.Config):
    """How clips are listened to and looked at."""

    engine: str = Field("auto", description="Face engine that looks at the lips: auto, dlib")
    whisper_dir: str | None = Field(None, description="Folder of a CTranslate2 Whisper model; without one nothing is transcribed")
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
    engine: str
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
    return STEP.materialize(
        context,
        config,
        store,
        warehouse,
        lambda: {SPEECH_INFO.name: measure_shard(clips.join(files, on="clip_id"), config)},
        clips_in=clips["clip_id"],
        outside=[face_engine_info(config.engine).fingerprint, _whisper_digest(config)],
    )


def measure_shard(clips: pl.DataFrame, config: SpeechInfoConfig) -> pl.DataFrame:
    """Measure every kept clip in child processes; the others are skipped.

    Args:
        clips: rows of `id_consistent_clips` with the columns that find the file.
    """
    rows = clips.sort("clip_id").to_dicts()
    kept = [row for row in rows if row["keep"]]
    settings = SpeechSettings(voice=config.voice, lips=config.lips)
    whisper_dir = None if config.whisper_dir is None else Path(config.whisper_dir)
    tasks = [
        SpeechTask(
            Path(row["clip_root"]),
            row["path"],
            row["duration_s"],
            config.engine,
            whisper_dir,
            config.whisper_language,
            settings,
        )
        for row in kept
    ]
    measured: dict[str, dict[str, Any]] = {}
    endings = map_isolated(measure_task, tasks, _deadline_s)
    for index, ending in track(endings, f"speech_info {clips['shard'][0]}" if rows else "speech_info", len(tasks)):
        measured[kept[index]["clip_id"]] = _outcome(ending)
    return SPEECH_INFO.frame(_row(row, measured.get(row["clip_id"])) for row in rows)


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


@lru_cache(maxsize=1)
def _engine(name: str) -> FaceEngine:
    return load_face_engine(name)


def _transcriber(task: SpeechTask) -> Transcriber | None:
    return None if task.whisper_dir is None else _whisper(task.whisper_dir, task.whisper_language)


@lru_cache(maxsize=1)
def _whisper(model_dir: Path, language: str | None) -> WhisperTranscriber:
    return WhisperTranscriber(model_dir, language)


def _whisper_digest(config: SpeechInfoConfig) -> str | None:
    """Hash of the speech model's weights. A folder that holds none is refused here, before any clip is touched."""
    if config.whisper_dir is None:
        return None
    WhisperTranscriber(Path(config.whisper_dir))
    return sha256_file(Path(config.whisper_dir) / "model.bin")


def _deadline_s(task: SpeechTask) -> float:
    return LEAST_DEADLINE_S + DEADLINE_PER_CLIP_S * (task.duration_s or 0.0)


def _outcome(ending: Ending[dict[str, Any]]) -> dict[str, Any]:
    if isinstance(ending, Done):
        return ending.value
    if isinstance(ending, Failed):
        return {"status": Status.ERROR, "reason": Reason.ENGINE_FAILED, "detail": ending.message}
    if isinstance(ending, Crashed):
        detail = f"the child process died with exit code {ending.exit_code}"
        return {"status": Status.ERROR, "reason": Reason.CRASHED, "detail": detail}
    return {
        "status": Status.TIMEOUT,
        "reason": Reason.DEADLINE,
        "detail": f"not finished after {ending.deadline_s:.0f} s",
    }


def _row(row: Mapping[str, Any], measured: dict[str, Any] | None) -> dict[str, Any]:
    unmeasured = dict.fromkeys(SPEECH_INFO.dtypes) | {"clip_id": row["clip_id"], "shard": row["shard"]}
    if measured is None:
        upstream = f"id_consistent_clips: {row['reason']}"
        return unmeasured | {"status": Status.SKIPPED, "reason": Reason.UPSTREAM, "detail": upstream}
    return unmeasured | measured
