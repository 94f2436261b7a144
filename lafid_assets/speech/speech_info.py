"""`speech_info`: what is heard, and how the lips move. Measures only.

Belongs here: the asset and its config. Not here: running a shard's clips (`shard_speech`), measuring one (`measures`).
"""

from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from lafid_assets.ingest.locate import require_located
from lafid_assets.schemas import FOOTAGE, FOOTAGE_TABLES, ID_CONSISTENT_CLIPS, POSE_FILTERED_CLIPS, SPEECH_INFO
from lafid_assets.speech.lips import LipSettings
from lafid_assets.speech.measures import SpeechSettings
from lafid_assets.speech.shard_speech import CODE_VERSION, SpeechRecipe, measure_shard
from lafid_assets.speech.transcript_files import read_transcripts
from lafid_assets.speech.voice import VoiceSettings
from lafid_assets.speech.whisper_models import AUTO, choose_whisper
from lafid_assets.steps.step import Step
from lafid_assets.steps.step_run import Frames, Work
from resources.face_engine import EngineChoice, chosen_engine, engine_reason, face_engine_info, model_store
from resources.lake.lake import Lake

CLIPS_OF_SHARD = f"""
    SELECT judged.clip_id, judged.shard, judged.keep, judged.reason, footage.duration_s, footage.content_sha256,
        footage.recording_id, footage.start_s, posed.window_start_s, posed.window_end_s
    FROM {ID_CONSISTENT_CLIPS.name} judged JOIN {FOOTAGE.name} footage USING (shard, clip_id)
        LEFT JOIN {POSE_FILTERED_CLIPS.name} posed USING (shard, clip_id)
    WHERE judged.shard = ?
"""


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


def _recipe(config: SpeechInfoConfig) -> SpeechRecipe:
    """A name or folder that holds no speech model is refused here, before any clip is touched."""
    whisper_dir = None if config.whisper_dir is None else Path(config.whisper_dir)
    return SpeechRecipe(
        EngineChoice(**{name: getattr(config, name) for name in EngineChoice.model_fields}),
        SpeechSettings(
            voice=VoiceSettings(**config.voice.model_dump()),
            lips=LipSettings(**config.lips.model_dump()),
        ),
        choose_whisper(config.whisper, whisper_dir, model_store()),
        config.whisper_language,
        None if config.transcripts is None else read_transcripts(Path(config.transcripts)),
    )


def _facts(config: SpeechInfoConfig) -> dict[str, Any]:
    recipe = _recipe(config)
    given = recipe.transcripts
    return {
        "settings": recipe.settings.model_dump(),
        "engine": [face_engine_info(recipe.engine).fingerprint, engine_reason(recipe.engine)],
        "words": [recipe.whisper.sha256, recipe.whisper.reason, recipe.language, given and [given.name, given.sha256]],
    }


def _chosen(config: SpeechInfoConfig) -> dict[str, str | None]:
    recipe = _recipe(config)
    return chosen_engine(recipe.engine) | {"whisper": recipe.whisper.sha256}


STEP = Step(
    writes=(SPEECH_INFO,),
    reads=(*FOOTAGE_TABLES, POSE_FILTERED_CLIPS.name, ID_CONSISTENT_CLIPS.name),
    group="curation",
    code_version=CODE_VERSION,
    facts=_facts,
    opens_videos=True,
    not_deciding=frozenset({"transcripts", "whisper_dir"}),
    chosen=_chosen,
)


@STEP.as_asset(deps=["id_consistent_clips", "pose_filtered_clips"], pool="cpu")
def speech_info(
    context: dg.AssetExecutionContext, config: SpeechInfoConfig, lake: dg.ResourceParam[Lake]
) -> dg.MaterializeResult:
    """Voice spans, words, and how the mouth moves with the sound, for every clip that shows one person all along.

    Speaking status is decided from these measures alone, so that another policy neither listens nor looks again.
    """
    recipe = _recipe(config)
    if recipe.transcripts is not None and recipe.transcripts.faults:
        context.log.warning(f"transcripts {recipe.transcripts.name}: left out {recipe.transcripts.told_faults}")

    def compute(shard: str) -> Frames:
        with lake.snapshot() as reader:
            clips = reader.sql(CLIPS_OF_SHARD, [shard])
            before = reader.read(SPEECH_INFO.name, shard) if reader.stamps([SPEECH_INFO.name], [shard]) else None
        return {SPEECH_INFO.name: measure_shard(clips, recipe, partial(require_located, lake, shard), before)}

    work = Work(
        compute,
        clips_in=lambda shard: lake.read(ID_CONSISTENT_CLIPS.name, shard, ["clip_id"])["clip_id"],
        metadata=lambda shard, frames: _sources(frames, recipe),
    )
    return STEP.materialize(context, config, lake, work)


def _sources(frames: Frames, recipe: SpeechRecipe) -> dict[str, str | int]:
    """Where the transcripts came from."""
    counts = frames[SPEECH_INFO.name]["transcriber"].drop_nulls().value_counts().sort("transcriber")
    return {
        "whisper": recipe.whisper.folder.name if recipe.whisper.folder else "none",
        "whisper_reason": recipe.whisper.reason,
        "transcribers": ", ".join(f"{name} ({clips} clips)" for name, clips in counts.iter_rows()) or "none",
        "transcript_rows_left_out": len(recipe.transcripts.faults) if recipe.transcripts else 0,
    }
