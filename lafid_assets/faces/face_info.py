"""`face_info`, written with `face_frames` and `face_clips` in one transaction a shard.

Belongs here: the asset, and turning endings of children into outcomes. Not here: looking at a frame (`survey`).
"""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from lafid_assets.faces.survey import SurveyedClip, SurveySettings, SurveyTask, survey_clip
from lafid_assets.outcomes import Reason, Status
from lafid_assets.progress import track
from lafid_assets.schemas import FACE_CLIPS, FACE_FRAMES, FACE_INFO, RAW_CLIPS
from lafid_assets.step import Step
from lafid_assets.workers import Crashed, Done, Ending, Failed, map_isolated
from model.face_engine.interface import EngineInfo
from resources.face_engine import face_engine_info
from resources.shard_store import ShardStore
from resources.warehouse import Warehouse

STEP = Step(writes=(FACE_INFO, FACE_FRAMES, FACE_CLIPS), reads=(RAW_CLIPS.name,), group="faces", code_version="2")
LOGGER = logging.getLogger("lafid.faces")

LEAST_DEADLINE_S = 60.0
DEADLINE_S_PER_FRAME = 10.0


class FaceInfoConfig(dg.Config, SurveySettings):
    """How the clips are surveyed."""


@dg.asset(**STEP.arguments(deps=["raw_clips"]))
def face_info(
    context: dg.AssetExecutionContext,
    config: FaceInfoConfig,
    store: dg.ResourceParam[ShardStore],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult:
    """A row a face a sampled frame: box, landmarks, rotation, embedding, sharpness. Scores only; nothing is decided here."""
    clips = store.read_table(RAW_CLIPS.name, context.partition_key)
    settings = SurveySettings(**config.model_dump())
    engine = face_engine_info(settings.engine)
    LOGGER.info("face engine: %s %s (asked for: %s)", engine.name, engine.version, settings.engine)
    return STEP.materialize(
        context,
        config,
        store,
        warehouse,
        lambda: survey_shard(clips, settings, engine),
        clips_in=clips["clip_id"],
        outside=engine.fingerprint,
        metadata=lambda frames: {"engine": f"{engine.name} {engine.version}", "engine_licence": engine.licence},
    )


def survey_shard(clips: pl.DataFrame, settings: SurveySettings, engine: EngineInfo) -> Mapping[str, pl.DataFrame]:
    """Survey every clip that `raw_clips` passed, in child processes; the others are skipped.

    Returns:
        frames of `face_info`, `face_frames` and `face_clips`.
    """
    rows = clips.sort("clip_id").to_dicts()
    tasks = [_task(row, settings) for row in rows if row["status"] == Status.OK]
    surveyed: dict[str, SurveyedClip] = {}
    endings = map_isolated(survey_clip, tasks, _deadline_s)
    for index, ending in track(endings, f"face_info {clips['shard'][0]}" if clips.height else "face_info", len(tasks)):
        surveyed[tasks[index].clip_id] = _surveyed(ending)
    faces = [face for clip in surveyed.values() for face in clip.faces]
    frames = [frame for clip in surveyed.values() for frame in clip.frames]
    fingerprint = measure_fingerprint(settings, engine)
    return {
        FACE_INFO.name: FACE_INFO.frame(faces),
        FACE_FRAMES.name: FACE_FRAMES.frame(frames),
        FACE_CLIPS.name: FACE_CLIPS.frame(_clip_row(row, surveyed.get(row["clip_id"]), engine, fingerprint) for row in rows),
    }


def measure_fingerprint(settings: SurveySettings, engine: EngineInfo) -> str:
    """Hash of code version, engine and settings; by which name the engine was asked for does not matter."""
    facts = [STEP.code_version, engine.fingerprint, settings.model_dump(mode="json", exclude={"engine"})]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _task(row: Mapping[str, Any], settings: SurveySettings) -> SurveyTask:
    return SurveyTask(row["clip_id"], row["shard"], Path(row["clip_root"]), row["path"], row["duration_s"], settings)


def _deadline_s(task: SurveyTask) -> float:
    frames = (task.duration_s or 0.0) * task.settings.rate_hz
    return LEAST_DEADLINE_S + DEADLINE_S_PER_FRAME * min(frames, task.settings.max_frames)


def _surveyed(ending: Ending[SurveyedClip]) -> SurveyedClip:
    if isinstance(ending, Done):
        return ending.value
    if isinstance(ending, Failed):
        return SurveyedClip(Status.ERROR, Reason.ENGINE_FAILED, ending.message, None)
    if isinstance(ending, Crashed):
        return SurveyedClip(Status.ERROR, Reason.CRASHED, f"the child process died with exit code {ending.exit_code}", None)
    return SurveyedClip(Status.TIMEOUT, Reason.DEADLINE, f"not finished after {ending.deadline_s:.0f} s", None)


def _clip_row(row: Mapping[str, Any], clip: SurveyedClip | None, engine: EngineInfo, fingerprint: str) -> dict[str, Any]:
    known = {
        "clip_id": row["clip_id"],
        "shard": row["shard"],
        "content_sha256": row["content_sha256"],
        "engine": engine.name,
        "engine_version": engine.version,
        "engine_licence": engine.licence,
        "fingerprint": fingerprint,
    }
    if clip is None:
        counts: dict[str, int | None] = dict.fromkeys(("frames_asked", "frames_decoded", "frames_with_face", "faces"))
        outcome = {"status": Status.SKIPPED, "reason": Reason.UPSTREAM, "detail": f"raw_clips: {row['reason']}"}
        return known | counts | outcome | {"attempts": 0}
    return known | {
        "frames_asked": clip.frames_asked,
        "frames_decoded": len(clip.frames),
        "frames_with_face": _with_face(clip.frames),
        "faces": len(clip.faces),
        "attempts": 1,
        "status": clip.status,
        "reason": clip.reason,
        "detail": clip.detail,
    }


def _with_face(frames: Sequence[Mapping[str, Any]]) -> int:
    return sum(frame["face_count"] > 0 for frame in frames)
