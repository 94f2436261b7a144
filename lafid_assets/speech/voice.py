"""Where a voice is heard.

Belongs here: voice activity by Silero VAD (snakers4/silero-vad v6, MIT; the weights travel with faster-whisper).
Not here: whose voice it is (`lips`, `speaking_status`) or what it says (`transcript`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field

from lafid_assets.speech.audio import Audio
from model.strict import StrictModel


@dataclass(frozen=True)
class Span:
    """A stretch of the clip, in seconds since the first picture."""

    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s


class VoiceSettings(StrictModel):
    """When sound counts as voice. Threshold and padding are Silero's own defaults."""

    threshold: float = Field(default=0.5, gt=0, lt=1, description="Lowest probability of a voice in 32 ms of sound.")
    min_voice_s: float = Field(default=0.25, ge=0, description="Shorter bursts are no voice.")
    min_pause_s: float = Field(default=0.3, ge=0.1, description="Shorter pauses belong to the voice around them.")
    pad_s: float = Field(default=0.03, ge=0, le=0.4, description="What is added to both ends of a span, for soft onsets.")


def voice_spans(audio: Audio, settings: VoiceSettings | None = None) -> list[Span]:
    """Stretches with a voice, in order, without overlap. Singing counts; noise and most instruments do not.

    Runs on one thread: faster-whisper gives its onnxruntime session one intra- and one inter-op thread.
    """
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    if not len(audio.samples):
        return []
    settings = settings or VoiceSettings()
    options = VadOptions(
        threshold=settings.threshold,
        min_speech_duration_ms=round(settings.min_voice_s * 1000),
        min_silence_duration_ms=round(settings.min_pause_s * 1000),
        speech_pad_ms=round(settings.pad_s * 1000),
    )
    found = get_speech_timestamps(audio.samples, options, sampling_rate=audio.sample_rate_hz)
    return [Span(span["start"] / audio.sample_rate_hz, span["end"] / audio.sample_rate_hz) for span in found]


def spans_within(spans: Sequence[Span], begin_s: float, end_s: float) -> list[Span]:
    """What of them lies between two moments."""
    cut = (Span(max(span.start_s, begin_s), min(span.end_s, end_s)) for span in spans)
    return [span for span in cut if span.duration_s > 0]


def voice_share(spans: Sequence[Span], audio: Audio) -> float | None:
    """Voiced time over audio time, 0 to 1; None where there is no sample."""
    return sum(span.duration_s for span in spans) / audio.duration_s if audio.duration_s else None
