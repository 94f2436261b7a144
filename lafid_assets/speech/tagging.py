"""From stored measures to who speaks, what is believed of the transcript, and the caption that says so.

Belongs here: the rows of `speech_tagged_clips`. Not here: the decision (`speaking_status`), the gates (`transcript_gates`), the
wording (`caption`, `llm_rewriter`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from lafid_assets.captions.caption_validation import RewriteLimits
from lafid_assets.captions.chat_endpoint import ChatEndpoint
from lafid_assets.captions.frame_captions import FrameCaption
from lafid_assets.captions.llm_rewriter import RewriteTask, rewrite_all
from lafid_assets.captions.speech_caption import RefinedCaption, language_name, refine_caption
from lafid_assets.outcomes import Reason, Status
from lafid_assets.policy_settings import settings_row
from lafid_assets.schemas import SPEECH_TAGGED_CLIPS
from lafid_assets.speech.speaking_status import Decision, SpeakingReason, SpeakingStatus, SpeechPolicy, decide
from lafid_assets.speech.transcript import TranscriptSegment
from lafid_assets.speech.transcript_gates import TranscriptGates, believed, dropped, language_of

RELEASED, NO_SOURCE = "released", "none"


@dataclass(frozen=True)
class _Tagged:
    """One measured clip, decided and refined by the rules."""

    clip: Mapping[str, Any]
    decision: Decision
    caption: str | None
    caption_source: str
    caption_reason: str | None
    segments: Sequence[TranscriptSegment] | None
    rules: RefinedCaption

    @property
    def lips_move(self) -> bool:
        return self.decision.reason is SpeakingReason.NO_VOICE_LIPS_MOVE


def tag_clips(
    speech: pl.DataFrame,
    captions: pl.DataFrame,
    policy: SpeechPolicy,
    gates: TranscriptGates,
    endpoint: ChatEndpoint | None = None,
    limits: RewriteLimits | None = None,
    described: Mapping[str, FrameCaption] | None = None,
    described_by: str = "",
) -> pl.DataFrame:
    """A row for every clip of `speech_info`: measured ones are decided and rewritten, the others skipped.

    Args:
        captions: `clip_id`, the released `caption`, and `caption_fault`, why there is none though one was released.
        endpoint: the language model that refines captions; the rules alone where there is none.
        described: captions from frames by clip id, for clips without a released one.
        described_by: the model that wrote them.
    """
    rows = speech.join(captions, on="clip_id", how="left").sort("clip_id").to_dicts()
    measured = {
        row["clip_id"]: _by_rules(row, policy, gates, (described or {}).get(row["clip_id"]), described_by)
        for row in rows
        if row["status"] == Status.OK
    }
    refined = _refined(measured, gates, endpoint, limits or RewriteLimits())
    sha256, _ = settings_row(settings_json(policy, gates))
    return SPEECH_TAGGED_CLIPS.frame(
        _row(row, measured.get(row["clip_id"]), refined.get(row["clip_id"]), policy, gates, sha256) for row in rows
    )


def settings_json(policy: SpeechPolicy, gates: TranscriptGates) -> str:
    """All that decides beside the measures, as `read_settings` reads it; an asset's config is cut down to these fields."""
    fields = {name: getattr(policy, name) for name in SpeechPolicy.model_fields}
    return json.dumps(fields | {"gates": {name: getattr(gates, name) for name in TranscriptGates.model_fields}})


def read_settings(text: str) -> SpeechPolicy:
    """The policy that `settings_json` wrote down."""
    return SpeechPolicy(**{name: value for name, value in json.loads(text).items() if name != "gates"})


def without_caption(captions: pl.DataFrame) -> pl.DataFrame:
    """The rows whose released caption is missing or blank."""
    return captions.filter(pl.col("caption").fill_null("").str.strip_chars() == "")


def _by_rules(
    clip: Mapping[str, Any], policy: SpeechPolicy, gates: TranscriptGates, described: FrameCaption | None, described_by: str
) -> _Tagged:
    decision = decide(clip, policy)
    segments = None if clip["segments"] is None else [TranscriptSegment(**segment) for segment in clip["segments"]]
    caption, source, reason = clip["caption"], RELEASED, None
    if not (caption or "").strip():
        caption, source, reason = None, NO_SOURCE, clip["caption_fault"] or "no caption was released"
        if described is not None:
            caption, source = described.text, f"frames: {described_by}" if described.text else NO_SOURCE
            reason = f"{reason}; {described.reason}"
    rules = refine_caption(
        caption,
        decision.status,
        lips_move=decision.reason is SpeakingReason.NO_VOICE_LIPS_MOVE,
        transcript_language=language_of(believed(segments or (), gates, clip["audio_duration_s"])),
    )
    return _Tagged(clip, decision, caption, source, reason, segments, rules)


def _refined(
    measured: Mapping[str, _Tagged], gates: TranscriptGates, endpoint: ChatEndpoint | None, limits: RewriteLimits
) -> dict[str, tuple[RefinedCaption, str]]:
    """The final caption of each clip and why it is the rules' or the model's."""
    refined = {clip_id: (tagged.rules, _not_asked(tagged, endpoint)) for clip_id, tagged in measured.items()}
    if endpoint is None:
        return refined
    tasks = [_task(clip_id, tagged, gates) for clip_id, tagged in measured.items() if not refined[clip_id][1]]
    answers = rewrite_all(tasks, endpoint, limits)
    return refined | {task.clip_id: answer for task, answer in zip(tasks, answers, strict=True)}


def _not_asked(tagged: _Tagged, endpoint: ChatEndpoint | None) -> str:
    """Why no language model is asked about the clip; empty where one is."""
    if endpoint is None:
        return "no language model is configured"
    if tagged.decision.status is SpeakingStatus.UNDECIDABLE:
        return "undecidable: nothing to say about speech"
    return "" if tagged.rules.kept else "nothing but the speaking sentence to refine"


def _task(clip_id: str, tagged: _Tagged, gates: TranscriptGates) -> RewriteTask:
    heard = believed(tagged.segments or (), gates, tagged.clip["audio_duration_s"])
    code = language_of(heard)
    return RewriteTask(
        clip_id,
        tagged.caption or "",
        tagged.decision.status,
        tagged.lips_move,
        tagged.rules,
        " ".join(segment.text for segment in heard) or None,
        language_name(code) if code else None,
    )


def _row(
    clip: Mapping[str, Any],
    tagged: _Tagged | None,
    refined: tuple[RefinedCaption, str] | None,
    policy: SpeechPolicy,
    gates: TranscriptGates,
    sha256: str,
) -> dict[str, Any]:
    known = dict.fromkeys(SPEECH_TAGGED_CLIPS.dtypes) | {
        "clip_id": clip["clip_id"],
        "shard": clip["shard"],
        "policy": policy.name,
        "policy_sha256": sha256,
    }
    if tagged is None or refined is None:
        upstream = f"speech_info: {clip['reason']}"
        return known | {"status": Status.SKIPPED, "reason": Reason.UPSTREAM, "detail": upstream}
    caption, reason = refined
    ends_s = clip["audio_duration_s"]
    heard = None if tagged.segments is None else believed(tagged.segments, gates, ends_s)
    return known | {
        "speaking_status": tagged.decision.status,
        "speaking_reason": tagged.decision.reason,
        "transcript": None if heard is None else " ".join(segment.text for segment in heard),
        "transcript_language": None if heard is None else language_of(heard),
        "dropped_segments": None if tagged.segments is None else [asdict(one) for one in dropped(tagged.segments, gates, ends_s)],
        "caption_source": tagged.caption_source,
        "caption_reason": tagged.caption_reason,
        "source_caption": tagged.caption,
        "refined_caption": caption.text,
        "speaking_sentence": caption.sentence,
        "removed_sentences": caption.removed,
        "rewriter": caption.rewriter,
        "rewriter_reason": reason,
        "status": Status.OK,
    }
