"""All speech measures of one clip, and the row in which they are kept.

Belongs here: the order in which a clip is listened to and looked at. Not here: any decision (`speaking_status`).
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from pydantic import Field

from lafid_assets.speech.audio import decode_audio
from lafid_assets.speech.lips import LipSettings, MouthTrack, silent_windows, track_mouth, voice_reach_s
from lafid_assets.speech.synchrony import Envelope, envelope_of, lip_sync
from lafid_assets.speech.transcript import Transcriber, TranscriptSegment
from lafid_assets.speech.voice import Span, VoiceSettings, spans_within, voice_share, voice_spans
from model.encoding.footage import Footage
from model.face_engine.interface import FaceEngine
from model.face_engine.mouth.movement import opening_range
from model.strict import StrictModel

_LEAST_FURTHER_S = 2.0
"""For less voice a clip is not decoded a second time: all is looked at at once."""
_NO_WINDOW = Span(0.0, 0.0)


class SpeechSettings(StrictModel):
    """How a clip is listened to and looked at."""

    voice: VoiceSettings = Field(default_factory=VoiceSettings, description="When sound counts as voice.")
    lips: LipSettings = Field(default_factory=LipSettings, description="How densely and how long lips are looked at.")


@dataclass(frozen=True, eq=False)
class SpeechMeasures:
    """What was heard and seen. Times are seconds since the first picture; None is what could not be measured.

    Attributes:
        has_audio: whether the clip has an audio stream. Without one nothing else is measured.
        audio_duration_s: from the first picture to the last sample.
        voice_spans: where a voice is heard.
        voice_share: voiced time over audio time.
        transcript: segments with their scores, believed or not; None without a transcriber.
        transcriber: its name.
        mouth_model: what found the lips; None of an engine that measures none.
        mouth: the mouth over the voiced stretches; over a few spread windows where no voice is heard.
        envelope: the sound as lips may follow it; None without a voice.
    """

    has_audio: bool
    audio_duration_s: float | None = None
    voice_spans: Sequence[Span] | None = None
    voice_share: float | None = None
    transcript: Sequence[TranscriptSegment] | None = None
    transcriber: str | None = None
    mouth_model: str | None = None
    mouth: MouthTrack | None = None
    envelope: Envelope | None = None

    def as_row(self) -> dict[str, Any]:
        """The measures as columns of `speech_info`: what `speaking_status.decide` reads."""
        mouth = self.mouth
        return {
            "has_audio": self.has_audio,
            "audio_duration_s": self.audio_duration_s,
            "voice_spans": None if self.voice_spans is None else [asdict(span) for span in self.voice_spans],
            "voice_share": self.voice_share,
            "segments": None if self.transcript is None else [asdict(segment) for segment in self.transcript],
            "transcriber": self.transcriber,
            "mouth_model": self.mouth_model,
            "mouth_times_s": None if mouth is None else mouth.times_s.tolist(),
            "mouth_openings": None if mouth is None else [o if np.isfinite(o) else None for o in mouth.openings.tolist()],
            "mouth_yaw_deg": None if mouth is None else [yaw if np.isfinite(yaw) else None for yaw in mouth.yaw_deg.tolist()],
            "mouth_runs": None if mouth is None else mouth.run.tolist(),
            "searched_times_s": None if mouth is None else mouth.searched_s.tolist(),
            "face_counts": None if mouth is None else mouth.face_counts.tolist(),
            "sound_energy": None if self.envelope is None else self.envelope.values.tolist(),
            **mouth_columns(mouth),
            **sync_columns(mouth, self.envelope),
        }


def mouth_columns(mouth: MouthTrack | None) -> dict[str, Any]:
    """What follows from the looks at a mouth, as columns of `speech_info`."""
    return {
        "mouth_range": None if mouth is None else opening_range(mouth.times_s, mouth.openings, mouth.run),
        "mouth_measurable_share": None if mouth is None else mouth.measurable_share,
        "mouth_yaw_abs_median_deg": None if mouth is None else mouth.yaw_abs_median_deg,
        "face_share": None if mouth is None else mouth.face_share,
        "several_faces_share": None if mouth is None else mouth.several_faces_share,
    }


def sync_columns(mouth: MouthTrack | None, envelope: Envelope | None) -> dict[str, Any]:
    """How the mouth goes with the sound, as columns of `speech_info`.

    Args:
        envelope: the sound of the whole clip; None without a voice.
    """
    sync = None if mouth is None or envelope is None else lip_sync(mouth, envelope)
    return {
        "lip_audio_correlation": None if sync is None else sync.best.correlation,
        "lip_audio_offset_s": None if sync is None else sync.best.offset_s,
        "lip_audio_correlations": None if sync is None else [asdict(one) for one in sync.correlations],
        "lip_audio_chance": None if sync is None else list(sync.chance),
        "lip_audio_z": None if sync is None else sync.z,
    }


def measure_speech(
    footage: Footage,
    engine: FaceEngine,
    settings: SpeechSettings | None = None,
    transcriber: Transcriber | None = None,
    window: Span = _NO_WINDOW,
) -> SpeechMeasures:
    """Listen to a clip and look at its lips: where a voice is heard, or in a few windows of sound without voice.

    Args:
        window: the seconds of which it has to be told who speaks, in a clip with more voice than is looked at.

    Raises:
        ClipError: `audio_unreadable` or `decode_failed`, naming the file.
    """
    settings = settings or SpeechSettings()
    audio = decode_audio(footage)
    if audio is None:
        return SpeechMeasures(has_audio=False)
    voice = voice_spans(audio, settings.voice)
    envelope = envelope_of(audio) if voice else None

    def look(spans: Sequence[Span]) -> MouthTrack:
        return track_mouth(footage, spans, engine, settings.lips)

    return SpeechMeasures(
        has_audio=True,
        audio_duration_s=audio.duration_s,
        voice_spans=voice,
        voice_share=voice_share(voice, audio),
        transcript=None if transcriber is None else transcriber.transcribe(audio),
        transcriber=None if transcriber is None else transcriber.name,
        mouth_model=engine.info.mouth,
        mouth=look(silent_windows(audio.duration_s, settings.lips))
        if envelope is None
        else lips_under_voice(look, voice, envelope, settings.lips, window),
        envelope=envelope,
    )


def lips_under_voice(
    look: Callable[[Sequence[Span]], MouthTrack],
    voice: Sequence[Span],
    envelope: Envelope,
    settings: LipSettings,
    window: Span = _NO_WINDOW,
) -> MouthTrack:
    """The mouth over the voice in and about the window, and over farther voice only where that leaves open whose voice it is.

    Args:
        look: the mouth over some spans.
        voice: at least one span.
    """
    around_s = (window.start_s + window.end_s) / 2
    reach_s = voice_reach_s(voice, settings.max_duration_s, around_s)
    near_s = max(voice_reach_s(voice, settings.first_s, around_s), window.duration_s / 2)
    farther = spans_within(voice, around_s - reach_s, around_s - near_s) + spans_within(
        voice, around_s + near_s, around_s + reach_s
    )
    if sum(span.duration_s for span in farther) < _LEAST_FURTHER_S:
        return look(spans_within(voice, around_s - reach_s, around_s + reach_s))
    near = look(spans_within(voice, around_s - near_s, around_s + near_s))
    sync = lip_sync(near, envelope)
    is_open = sync is None or sync.z is None or settings.chance_z < sync.z < settings.clear_z
    return near.joined(look(farther)) if is_open else near
