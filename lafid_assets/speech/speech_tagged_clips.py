"""`speech_tagged_clips`: who speaks, and the caption that says so. From `speech_info` alone; no sound is opened.

Belongs here: the asset and its row. Not here: the decision (`speaking_status`), the wording (`caption`).
"""

from typing import Any

import dagster as dg
import polars as pl

from lafid_assets.outcomes import Reason, Status
from lafid_assets.schemas import RAW_CLIPS, SPEECH_INFO, SPEECH_TAGGED_CLIPS
from lafid_assets.speech.caption import refine_caption
from lafid_assets.speech.speaking_status import SpeakingReason, SpeechPolicy, decide
from lafid_assets.speech.transcript import TranscriptSegment, language_of
from lafid_assets.step import Step
from resources.shard_store import ShardStore
from resources.warehouse import Warehouse

STEP = Step(
    writes=(SPEECH_TAGGED_CLIPS,),
    reads=(SPEECH_INFO.name, RAW_CLIPS.name),
    group="speech",
    code_version="1",
    kinds=frozenset({"polars"}),
)


class SpeechTaggedClipsConfig(dg.Config, SpeechPolicy):
    """When a clip counts as spoken on screen."""


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
    captions = store.read_table(RAW_CLIPS.name, shard).select("clip_id", "caption")
    return STEP.materialize(
        context,
        config,
        store,
        warehouse,
        lambda: {SPEECH_TAGGED_CLIPS.name: tag_clips(speech, captions, config)},
        clips_in=speech["clip_id"],
    )


def tag_clips(speech: pl.DataFrame, captions: pl.DataFrame, policy: SpeechPolicy) -> pl.DataFrame:
    """A row for every clip of `speech_info`: measured ones are decided and rewritten, the others skipped."""
    rows = speech.join(captions, on="clip_id", how="left").iter_rows(named=True)
    return SPEECH_TAGGED_CLIPS.frame(_row(row, policy) for row in rows)


def _row(clip: dict[str, Any], policy: SpeechPolicy) -> dict[str, Any]:
    known = dict.fromkeys(SPEECH_TAGGED_CLIPS.dtypes) | {
        "clip_id": clip["clip_id"],
        "shard": clip["shard"],
        "policy": policy.name,
    }
    if clip["status"] != Status.OK:
        upstream = f"speech_info: {clip['reason']}"
        return known | {"status": Status.SKIPPED, "reason": Reason.UPSTREAM, "detail": upstream}
    decision = decide(clip, policy)
    refined = refine_caption(
        clip["caption"],
        decision.status,
        lips_move=decision.reason is SpeakingReason.NO_VOICE_LIPS_MOVE,
        transcript_language=language_of([TranscriptSegment(**segment) for segment in clip["segments"] or ()]),
    )
    return known | {
        "speaking_status": decision.status,
        "speaking_reason": decision.reason,
        "refined_caption": refined.text,
        "speaking_sentence": refined.sentence,
        "removed_sentences": refined.removed,
        "rewriter": refined.rewriter,
        "status": Status.OK,
    }
