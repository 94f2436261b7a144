"""`speech_tagged_clips`: who speaks, and the caption that says so. From `speech_info` alone; no sound is opened.

Belongs here: the asset, its config, and the endpoints that it may ask. Not here: the rows (`tagging`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from lafid_assets.outcomes import Status
from lafid_assets.schemas import RAW_CLIPS, SPEECH_INFO, SPEECH_TAGGED_CLIPS
from lafid_assets.speech.answer_cache import AnswerCache
from lafid_assets.speech.caption_validation import RewriteLimits
from lafid_assets.speech.chat_endpoint import ChatEndpoint, EndpointSettings
from lafid_assets.speech.frame_captions import FrameCaption, FrameCaptionSettings, describe_all
from lafid_assets.speech.llm_rewriter import BY_MODEL, UNANSWERED
from lafid_assets.speech.speaking_status import SpeechPolicy
from lafid_assets.speech.tagging import tag_clips, without_caption
from lafid_assets.speech.transcript_gates import TranscriptGates
from lafid_assets.step import Frames, Step
from resources.settings import Settings
from resources.shard_store import ShardStore
from resources.warehouse import Warehouse

STEP = Step(
    writes=(SPEECH_TAGGED_CLIPS,),
    reads=(SPEECH_INFO.name, RAW_CLIPS.name),
    group="speech",
    code_version="3",
    kinds=frozenset({"polars"}),
)


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


@dg.asset(**STEP.arguments(deps=["speech_info", "raw_clips"]))
def speech_tagged_clips(
    context: dg.AssetExecutionContext,
    config: SpeechTaggedClipsConfig,
    store: dg.ResourceParam[ShardStore],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult:
    """Speaking status by policy, and the caption rewritten to agree with it; the released caption stays in `raw_clips`."""
    shard = context.partition_key
    speech = store.read_table(SPEECH_INFO.name, shard)
    clips = store.read_table(RAW_CLIPS.name, shard).select("clip_id", "caption", "clip_root", "path", "duration_s")
    cache = AnswerCache.of_home(Settings.from_environment().home)
    rewriter = None if config.caption_llm is None else ChatEndpoint(config.caption_llm, cache)
    if rewriter is None and (told := captions_at_stake(store, [shard])):
        context.log.warning(told)
    describer = None if config.caption_frames_model is None else ChatEndpoint(config.caption_frames_model, cache)
    return STEP.materialize(
        context,
        config,
        store,
        warehouse,
        lambda: {SPEECH_TAGGED_CLIPS.name: _tag(speech, clips, config, rewriter, describer)},
        clips_in=speech["clip_id"],
        intact=_all_answered,
        metadata=lambda _: _bills(rewriter, describer),
    )


def _tag(
    speech: pl.DataFrame,
    clips: pl.DataFrame,
    config: SpeechTaggedClipsConfig,
    rewriter: ChatEndpoint | None,
    describer: ChatEndpoint | None,
) -> pl.DataFrame:
    described: Mapping[str, FrameCaption] = {}
    if config.caption_frames_model is not None and describer is not None:
        measured = speech.filter(pl.col("status") == Status.OK).select("clip_id")
        described = describe_all(without_caption(clips).join(measured, on="clip_id"), config.caption_frames_model, describer)
    return tag_clips(
        speech,
        clips.select("clip_id", "caption"),
        config,
        config.gates,
        rewriter,
        None if config.caption_llm is None else config.caption_llm.limits,
        described,
        "" if describer is None else describer.settings.model,
    )


def captions_at_stake(store: ShardStore, shards: Sequence[str]) -> str:
    """What a run without `caption_llm` is about to do to captions that a language model wrote; empty where there are none."""
    known = [shard for shard in store.partitions(SPEECH_TAGGED_CLIPS.name) if shard in shards]
    columns = [store.read_table(SPEECH_TAGGED_CLIPS.name, shard, columns=["rewriter"])["rewriter"] for shard in known]
    by_model = [writer for column in columns for writer in column.drop_nulls() if writer.startswith(BY_MODEL)]
    if not by_model:
        return ""
    writers = ", ".join(sorted(set(by_model)))
    return (
        f"{len(by_model)} captions were written by {writers} and no language model is named now: rules write them again. "
        "The answers are kept; naming the model again brings them back and asks nothing twice"
    )


def _all_answered(frames: Frames) -> bool:
    """Whether asking again would change nothing: captions whose question stayed without an answer are tried again."""
    reasons = frames[SPEECH_TAGGED_CLIPS.name].select("rewriter_reason", "caption_reason")
    return not any(UNANSWERED in reason for column in reasons for reason in column.drop_nulls())


def _bills(rewriter: ChatEndpoint | None, describer: ChatEndpoint | None) -> dict[str, Any]:
    bills: dict[str, Any] = {}
    if rewriter is not None:
        bills |= rewriter.bill.as_metadata("caption_llm")
    if describer is not None:
        bills |= describer.bill.as_metadata("caption_frames_model")
    return bills
