"""`speech_tagged_clips`: who speaks in a clip's window, and the caption that says so. From stored measures; no sound is opened.

Belongs here: the asset, its config, and the endpoints that it may ask. Not here: the rows (`tagging`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from lafid_assets.captions.answer_cache import AnswerCache
from lafid_assets.captions.caption_validation import RewriteLimits
from lafid_assets.captions.chat_endpoint import ChatEndpoint, EndpointSettings
from lafid_assets.captions.frame_captions import FrameCaption, FrameCaptionSettings, describe_all
from lafid_assets.captions.llm_rewriter import BY_MODEL, UNANSWERED
from lafid_assets.constraints.window import WINDOW_COLUMNS
from lafid_assets.ingest.locate import locate
from lafid_assets.outcomes import Status
from lafid_assets.policy_settings import settings_row
from lafid_assets.schemas import (
    CLIP_CONTENTS,
    CLIP_ROWS,
    POLICY_SETTINGS,
    POSE_FILTERED_CLIPS,
    RAW_CLIPS,
    SPEECH_INFO,
    SPEECH_TAGGED_CLIPS,
)
from lafid_assets.schemas.clips import told_by_several
from lafid_assets.speech.speaking_status import SpeechPolicy
from lafid_assets.speech.tagging import RELEASED, settings_json, tag_clips, without_caption
from lafid_assets.speech.transcript_gates import TranscriptGates
from lafid_assets.steps.step import Step
from lafid_assets.steps.step_run import Frames, Work
from resources.lake.duckdb_extensions import quoted
from resources.lake.lake import Lake
from resources.lake.reader import Reader
from resources.settings import Settings

NOT_BLANK = r"[^\s\p{Z}\x{0b}\x{1c}-\x{1f}\x{85}]"
"""What `str.strip` leaves something of."""


class GatesConfig(dg.Config, TranscriptGates):
    """When a segment of the transcript is believed."""


class RewriteLimitsConfig(dg.Config, RewriteLimits):
    """How far a rewritten caption may depart from the original."""


class CaptionLlmConfig(dg.Config, EndpointSettings):
    """The language model that refines captions."""

    limits: RewriteLimitsConfig = Field(default_factory=RewriteLimitsConfig)


class FrameCaptionConfig(dg.Config, FrameCaptionSettings):
    """The vision-language model that writes captions from frames."""


class SpeechTaggedClipsConfig(dg.Config, SpeechPolicy):
    """When a clip counts as spoken on screen, and who words the caption."""

    gates: GatesConfig = Field(default_factory=GatesConfig)
    caption_llm: CaptionLlmConfig | None = Field(
        None,
        description="Language model that refines captions; without one, rules do. Personal data: captions and transcripts are "
        "sent to its endpoint, pictures and sound are not.",
    )
    caption_frames_model: FrameCaptionConfig | None = Field(
        None,
        description="Vision-language model that writes captions for clips without one. Personal data: frames that show persons "
        "leave this machine for its endpoint; only then do they.",
    )


def outstanding(_: SpeechTaggedClipsConfig) -> str:
    """SQL that lists, as `shard`, the shards with a question that stayed without an answer, or with another released caption.

    Captions belong to files, of which clips get new ones without being changed, in other shards, too.
    """
    unanswered = quoted(f"%{UNANSWERED}%")
    return f"""
        SELECT shard FROM {SPEECH_TAGGED_CLIPS.name}
        WHERE rewriter_reason LIKE {unanswered} OR caption_reason LIKE {unanswered}
        UNION ALL
        SELECT shard FROM {SPEECH_TAGGED_CLIPS.name} JOIN ({told_by_several("caption")}) USING (shard, clip_id)
        WHERE status = {quoted(Status.OK)} AND
            CASE WHEN regexp_matches(caption, '{NOT_BLANK}') THEN caption END
            IS DISTINCT FROM CASE WHEN caption_source = {quoted(RELEASED)} THEN source_caption END
    """


STEP = Step(
    writes=(SPEECH_TAGGED_CLIPS, POLICY_SETTINGS),
    reads=(SPEECH_INFO.name, POSE_FILTERED_CLIPS.name, CLIP_ROWS.name, CLIP_CONTENTS.name),
    group="curation",
    code_version="9",
    kinds=frozenset({"polars"}),
    not_deciding=frozenset({"caption_llm", "caption_frames_model"}),
    require=lambda config: [asked.key() for asked in (config.caption_llm, config.caption_frames_model) if asked],
    unsettled=outstanding,
)


@STEP.as_asset(deps=["speech_info", "pose_filtered_clips", "raw_clips"])
def speech_tagged_clips(
    context: dg.AssetExecutionContext,
    config: SpeechTaggedClipsConfig,
    settings: dg.ResourceParam[Settings],
    lake: dg.ResourceParam[Lake],
) -> dg.MaterializeResult:
    """Who speaks in a clip's window, and its caption rewritten to say so; the released caption stays in `raw_clips`.

    Training reads the refined caption; the data team looks here for what was heard, believed and taken out of a caption.
    """
    cache = AnswerCache.of_home(settings.home)
    rewriter = None if config.caption_llm is None else ChatEndpoint(config.caption_llm, cache)
    if rewriter is None and (told := captions_at_stake(lake, context.partition_keys)):
        context.log.warning(told)
    describer = None if config.caption_frames_model is None else ChatEndpoint(config.caption_frames_model, cache)

    def compute(shard: str) -> Frames:
        with lake.snapshot() as reader:
            speech = reader.read(SPEECH_INFO.name, shard)
            released = reader.read(RAW_CLIPS.name, shard, ["clip_id", "recording_id", "caption", "duration_s"])
            windows = reader.read(POSE_FILTERED_CLIPS.name, shard, ["clip_id", *WINDOW_COLUMNS])
        clips = claimed_alone(released).join(windows, on="clip_id", how="left")
        described: Mapping[str, FrameCaption] = {}
        if config.caption_frames_model is not None and describer is not None:
            measured = speech.filter(pl.col("status") == Status.OK).select("clip_id")
            wordless = without_caption(clips).join(measured, on="clip_id")
            places = locate(lake, shard) if wordless.height else {}
            described = describe_all(wordless, places, config.caption_frames_model, describer)
        return {SPEECH_TAGGED_CLIPS.name: _tag(speech, clips, config, rewriter, describer, described)} | {
            POLICY_SETTINGS.name: settings_row(settings_json(config, config.gates))[1]
        }

    work = Work(
        compute,
        clips_in=lambda shard: lake.read(SPEECH_INFO.name, shard, ["clip_id"])["clip_id"],
        metadata=lambda shard, frames: _bills(rewriter, describer),
    )
    return STEP.materialize(context, config, lake, work)


def claimed_alone(clips: pl.DataFrame) -> pl.DataFrame:
    """Clips without the captions that were released for more than them: of a shot nobody knows which sentence is about it.

    Returns:
        the same with `caption_fault`, why a released caption is left out.
    """
    is_shot = pl.col("recording_id").is_not_null() & pl.col("caption").is_not_null()
    return clips.with_columns(
        caption=pl.when(~is_shot).then("caption"),
        caption_fault=pl.when(is_shot).then(pl.lit("the released caption is of the whole recording, not of this shot")),
    )


def _tag(
    speech: pl.DataFrame,
    clips: pl.DataFrame,
    config: SpeechTaggedClipsConfig,
    rewriter: ChatEndpoint | None,
    describer: ChatEndpoint | None,
    described: Mapping[str, FrameCaption],
) -> pl.DataFrame:
    return tag_clips(
        speech,
        clips.select("clip_id", "caption", "caption_fault", *WINDOW_COLUMNS),
        config,
        config.gates,
        rewriter,
        None if config.caption_llm is None else config.caption_llm.limits,
        described,
        "" if describer is None else describer.settings.model,
    )


def captions_at_stake(lake: Lake | Reader, shards: Sequence[str]) -> str:
    """What a run without `caption_llm` is about to do to captions that a language model wrote; empty where there are none."""
    by_model = lake.sql(
        f"SELECT rewriter, count(*) AS captions FROM {SPEECH_TAGGED_CLIPS.name} "
        f"WHERE starts_with(rewriter, {quoted(BY_MODEL)}) AND list_contains(?, shard) GROUP BY rewriter ORDER BY rewriter",
        [list(shards)],
    )
    if by_model.is_empty():
        return ""
    return (
        f"{by_model['captions'].sum()} captions were written by {', '.join(by_model['rewriter'])} and no language model is named "
        "now: rules write them again. The answers are kept; naming the model again brings them back and asks nothing twice"
    )


def _bills(rewriter: ChatEndpoint | None, describer: ChatEndpoint | None) -> dict[str, Any]:
    bills: dict[str, Any] = {}
    if rewriter is not None:
        bills |= rewriter.bill.as_metadata("caption_llm")
    if describer is not None:
        bills |= describer.bill.as_metadata("caption_frames_model")
    return bills
