"""Which segments of a transcript can be believed. Speech models invent text; what is invented is kept, with the reason.

Belongs here: the gates, and the judgement from stored segments alone. Not here: making a transcript (`transcript`,
`transcript_files`), the phrases that models invent (`stock_phrases`).

Scores and text are judged by Whisper's own rules (Radford et al. 2022, section 4.5); repeated word groups, over-long words and
stock phrases follow the idea of NeMo Curator's lexical filter for Whisper's inventions. The phrases and limits are ours.
"""

import math
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field

from lafid_assets.speech.stock_phrases import is_stock_phrase
from lafid_assets.speech.transcript import TranscriptSegment
from model.strict import StrictModel

_GROUP_WORDS = 3


class TranscriptGates(StrictModel):
    """When a segment is believed. Log-probability, no-speech and compression limits are Whisper's, the others ours."""

    min_avg_logprob: float = Field(default=-1.0, le=0, description="Below it the model guesses.")
    max_no_speech_prob: float = Field(
        default=0.6, ge=0, le=1, description="Above it the model itself doubts that anything is said."
    )
    max_compression_ratio: float = Field(default=2.4, gt=1, description="Text that zlib shrinks more than this repeats itself.")
    max_group_repeats: int = Field(default=3, ge=1, description="A group of three words that occurs more often is a loop.")
    max_chars_per_s: float = Field(default=30.0, gt=0, description="Nobody talks faster (about 15 is usual in English).")
    max_word_chars: int = Field(
        default=40, ge=10, description="Longer runs without a space are no words, where the text has spaces at all."
    )
    max_past_end_s: float = Field(
        default=1.0, ge=0, description="A segment that ends later than this after the last sound is of another recording."
    )


@dataclass(frozen=True)
class DroppedSegment:
    """A segment that is not believed, and why."""

    start_s: float
    end_s: float
    text: str
    reason: str


def doubt(segment: TranscriptSegment, gates: TranscriptGates, audio_duration_s: float | None = None) -> str | None:
    """Why `segment` is not believed (the first reason that applies), or None. A gate whose score is not known does not apply."""
    encoded = segment.text.encode()
    duration_s = segment.end_s - segment.start_s
    words = segment.text.split()
    if not any(char.isalnum() for char in segment.text):
        return "empty"
    if audio_duration_s is not None and _past_end_s(segment, audio_duration_s) > gates.max_past_end_s:
        return "past_end"
    if segment.no_speech_prob is not None and not segment.no_speech_prob <= gates.max_no_speech_prob:
        return "no_speech"
    if segment.avg_logprob is not None and not segment.avg_logprob >= gates.min_avg_logprob:
        return "improbable"
    if len(encoded) / len(zlib.compress(encoded)) > gates.max_compression_ratio or _most_repeats(words) > gates.max_group_repeats:
        return "repetition"
    if duration_s <= 0 or len(segment.text) / duration_s > gates.max_chars_per_s:
        return "too_fast"
    if len(words) > 1 and max(map(len, words)) > gates.max_word_chars:
        return "long_word"
    if is_stock_phrase(segment.text):
        return "stock_phrase"
    return None


def doubts(
    segments: Sequence[TranscriptSegment], gates: TranscriptGates | None = None, audio_duration_s: float | None = None
) -> list[str | None]:
    """`doubt` of each segment in turn; a third and later one with the same words as the two before it is a `repetition`, too.

    Args:
        audio_duration_s: from the first picture to the last sound; None where it is not known, and no segment is `past_end`.
    """
    gates = gates or TranscriptGates()
    found = [doubt(segment, gates, audio_duration_s) for segment in segments]
    texts = [" ".join(segment.text.lower().split()) for segment in segments]
    for i in range(2, len(texts)):
        if found[i] is None and texts[i] == texts[i - 1] == texts[i - 2]:
            found[i] = "repetition"
    return found


def believed(
    segments: Sequence[TranscriptSegment], gates: TranscriptGates | None = None, audio_duration_s: float | None = None
) -> list[TranscriptSegment]:
    """The segments that pass every gate (`doubts`)."""
    reasons = doubts(segments, gates, audio_duration_s)
    return [segment for segment, reason in zip(segments, reasons, strict=True) if reason is None]


def dropped(
    segments: Sequence[TranscriptSegment], gates: TranscriptGates | None = None, audio_duration_s: float | None = None
) -> list[DroppedSegment]:
    """The segments that do not, with the reason."""
    return [
        DroppedSegment(segment.start_s, segment.end_s, segment.text, reason)
        for segment, reason in zip(segments, doubts(segments, gates, audio_duration_s), strict=True)
        if reason is not None
    ]


def language_of(segments: Sequence[TranscriptSegment]) -> str | None:
    """Code of the language in which most is said, by voiced time; None where no segment tells."""
    spoken_s: dict[str, float] = {}
    for segment in segments:
        if segment.language is not None:
            spoken_s[segment.language] = spoken_s.get(segment.language, 0.0) + segment.end_s - segment.start_s
    return max(sorted(spoken_s), key=spoken_s.__getitem__) if spoken_s else None


def _past_end_s(segment: TranscriptSegment, audio_duration_s: float) -> float:
    """How long after the last sound the segment ends; without limit where it begins there."""
    return math.inf if segment.start_s >= audio_duration_s else segment.end_s - audio_duration_s


def _most_repeats(words: Sequence[str]) -> int:
    """How often the most frequent group of `_GROUP_WORDS` words in a row occurs; 0 in a shorter text."""
    lowered = [word.lower().strip(".,!?") for word in words]
    groups = Counter(zip(*(lowered[i:] for i in range(_GROUP_WORDS)), strict=False))
    return max(groups.values(), default=0)
