"""What the voice says, where a speech model is at hand.

Belongs here: the transcript's types, running faster-whisper guarded against invented text, and the judgement which segments can
be believed. Not here: finding the voice (`voice`), using the text (`caption`).
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from lafid_assets.speech.audio import Audio
from lafid_assets.speech.voice import VoiceSettings

_MODEL_FILES = ("model.bin", "config.json")


@dataclass(frozen=True)
class TranscriptSegment:
    """One stretch of text, in seconds since the first picture, with the model's own scores.

    Attributes:
        language: code of the language ("en") that was detected for the whole clip.
        avg_logprob: mean log-probability of the tokens, 0 at best.
        no_speech_prob: the model's probability that nothing was said, 0 to 1.
    """

    start_s: float
    end_s: float
    text: str
    language: str
    avg_logprob: float
    no_speech_prob: float


class Transcriber(Protocol):
    """Anything that turns sound into segments; `name` is recorded with them."""

    @property
    def name(self) -> str: ...

    def transcribe(self, audio: Audio) -> list[TranscriptSegment]:
        """Segments in order of time. Deterministic; one instance serves one thread."""
        ...


class TranscriptGates(BaseModel):
    """When a segment is believed. Log-probability, no-speech and compression limits are Whisper's (Radford et al. 2022, 4.5)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_avg_logprob: float = Field(default=-1.0, le=0, description="Below it the model guesses.")
    max_no_speech_prob: float = Field(
        default=0.6, ge=0, le=1, description="Above it the model itself doubts that anything is said."
    )
    max_compression_ratio: float = Field(default=2.4, gt=1, description="Text that zlib shrinks more than this repeats itself.")
    max_chars_per_s: float = Field(default=30.0, gt=0, description="Nobody talks faster (about 15 is usual in English).")


class WhisperTranscriber:
    """faster-whisper on a CTranslate2 model folder: int8, one CPU thread, temperature 0, so the same sound gives the same text.

    Every segment that the model emits is returned, with its scores: `believed` judges them, and can judge them anew.
    """

    def __init__(self, model_dir: Path, language: str | None = None, voice: VoiceSettings | None = None) -> None:
        """Check the folder; the model is loaded at first use.

        Args:
            model_dir: a CTranslate2 Whisper model.
            language: code of the language where it is known ("en"); detected per clip otherwise, by models that can.
            voice: when sound counts as voice.

        Raises:
            FileNotFoundError: `model_dir` is no CTranslate2 Whisper model.
        """
        for name in _MODEL_FILES:
            if not (model_dir / name).is_file():
                raise FileNotFoundError(f"{model_dir} is no CTranslate2 Whisper model: {name} is missing")
        self._model_dir = model_dir
        self._language = language
        self._voice = voice or VoiceSettings()

    @property
    def name(self) -> str:
        """The model folder's name: what is recorded as `transcriber`."""
        return self._model_dir.name

    def transcribe(self, audio: Audio) -> list[TranscriptSegment]:
        """Segments over the voiced stretches only; none where there is no voice (`Transcriber.transcribe`)."""
        if not len(audio.samples):
            return []
        segments, info = self._model.transcribe(
            audio.samples,
            language=self._language,
            vad_filter=True,
            vad_parameters={
                "threshold": self._voice.threshold,
                "min_speech_duration_ms": round(self._voice.min_voice_s * 1000),
                "min_silence_duration_ms": round(self._voice.min_pause_s * 1000),
                "speech_pad_ms": round(self._voice.pad_s * 1000),
            },
            condition_on_previous_text=False,  # else one invented sentence breeds the next (faster-whisper#843, #506)
            temperature=0.0,  # higher ones sample: another text at every run
        )
        return [
            TranscriptSegment(s.start, s.end, s.text.strip(), info.language, s.avg_logprob, s.no_speech_prob) for s in segments
        ]

    @cached_property
    def _model(self) -> Any:
        from faster_whisper import WhisperModel

        return WhisperModel(str(self._model_dir), device="cpu", compute_type="int8", cpu_threads=1, num_workers=1)


def doubt(segment: TranscriptSegment, gates: TranscriptGates) -> str | None:
    """Why `segment` is not believed (the first reason that applies), or None."""
    encoded = segment.text.encode()
    duration_s = segment.end_s - segment.start_s
    if not encoded:
        return "empty"
    if segment.no_speech_prob > gates.max_no_speech_prob:
        return "no_speech"
    if segment.avg_logprob < gates.min_avg_logprob:
        return "improbable"
    if len(encoded) / len(zlib.compress(encoded)) > gates.max_compression_ratio:
        return "repetition"
    if duration_s <= 0 or len(segment.text) / duration_s > gates.max_chars_per_s:
        return "too_fast"
    return None


def believed(segments: Sequence[TranscriptSegment], gates: TranscriptGates | None = None) -> list[TranscriptSegment]:
    """The segments that pass every gate."""
    gates = gates or TranscriptGates()
    return [segment for segment in segments if doubt(segment, gates) is None]


def language_of(segments: Sequence[TranscriptSegment], gates: TranscriptGates | None = None) -> str | None:
    """Code of the language in which most is said in believable segments, by voiced time; None without one."""
    spoken_s: dict[str, float] = {}
    for segment in believed(segments, gates):
        spoken_s[segment.language] = spoken_s.get(segment.language, 0.0) + segment.end_s - segment.start_s
    return max(sorted(spoken_s), key=spoken_s.__getitem__) if spoken_s else None
