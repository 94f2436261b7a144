"""What the voice says, as segments of text.

Belongs here: the transcript's types, and running faster-whisper where a speech model is at hand. Not here: which segments can be
believed (`transcript_gates`), transcripts made elsewhere (`transcript_files`), finding the voice (`voice`), using the text
(`speech_caption`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from lafid_assets.speech.audio import Audio
from lafid_assets.speech.voice import VoiceSettings

_MODEL_FILES = ("model.bin", "config.json")


@dataclass(frozen=True)
class TranscriptSegment:
    """One stretch of text, in seconds since the first picture, with the model's own scores.

    Attributes:
        language: code of the language ("en") of the whole clip; None where a file does not tell.
        avg_logprob: mean log-probability of the tokens, 0 at best; None where a file does not tell.
        no_speech_prob: the model's probability that nothing was said, 0 to 1; None where a file does not tell.
    """

    start_s: float
    end_s: float
    text: str
    language: str | None
    avg_logprob: float | None
    no_speech_prob: float | None


class Transcriber(Protocol):
    """Anything that turns sound into segments; `name` is recorded with them."""

    @property
    def name(self) -> str: ...

    def transcribe(self, audio: Audio) -> list[TranscriptSegment]:
        """Segments in order of time. Deterministic; one instance serves one thread."""
        ...


@dataclass(frozen=True)
class GivenTranscript:
    """A transcriber that has read the clip's segments from a file instead of listening."""

    name: str
    segments: Sequence[TranscriptSegment]

    def transcribe(self, audio: Audio) -> list[TranscriptSegment]:
        """The segments of the file, whatever the sound (`Transcriber.transcribe`)."""
        return list(self.segments)


def is_whisper_model(folder: Path) -> bool:
    """Whether the folder holds the files of a CTranslate2 Whisper model."""
    return all((folder / name).is_file() for name in _MODEL_FILES)


class WhisperTranscriber:
    """faster-whisper on a CTranslate2 model folder: int8, one CPU thread, temperature 0, so the same sound gives the same text.

    Every segment that the model emits is returned, with its scores: `transcript_gates` judges them, and can judge them anew.
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
        if not is_whisper_model(model_dir):
            raise FileNotFoundError(f"{model_dir} is no CTranslate2 Whisper model: it needs {' and '.join(_MODEL_FILES)}")
        self._model_dir = model_dir
        self._language = language
        self._voice = voice or VoiceSettings()
        self.name = model_dir.name

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
            no_speech_threshold=None,  # would drop segments unseen: `transcript_gates` drops them seen, with the reason
        )
        return [
            TranscriptSegment(s.start, s.end, s.text.strip(), info.language, s.avg_logprob, s.no_speech_prob) for s in segments
        ]

    @cached_property
    def _model(self) -> Any:
        from faster_whisper import WhisperModel

        return WhisperModel(str(self._model_dir), device="cpu", compute_type="int8", cpu_threads=1, num_workers=1)
