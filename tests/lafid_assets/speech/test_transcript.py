"""The real transcriber runs, is guarded, and hides nothing that it was told."""

import numpy as np
import pytest

from lafid_assets.speech.audio import Audio, decode_audio
from lafid_assets.speech.transcript import WhisperTranscriber
from lafid_assets.speech.transcript_gates import believed, dropped
from lafid_assets.speech.voice import VoiceSettings


@pytest.fixture(scope="module")
def whisper(testdata) -> WhisperTranscriber:
    """Real vocabulary, random weights: the path is real, the text means nothing."""
    return WhisperTranscriber(testdata / "weights" / "whisper" / "random-tiny-ct2", language="en")


def test_speech_gives_scored_segments_in_order(testdata, whisper):
    segments = whisper.transcribe(decode_audio(testdata / "audio" / "jfk.flac"))
    assert segments
    assert [s.start_s for s in segments] == sorted(s.start_s for s in segments)
    assert all(s.end_s >= s.start_s and s.avg_logprob < 0 and 0 <= s.no_speech_prob <= 1 for s in segments)
    assert {s.language for s in segments} == {"en"}


def test_the_same_sound_gives_the_same_text(testdata, whisper):
    audio = decode_audio(testdata / "audio" / "hotwords.mp3")
    assert whisper.transcribe(audio) == whisper.transcribe(audio)


def test_nothing_is_invented_over_noise_or_nothing(whisper, noise):
    assert whisper.transcribe(Audio(noise(4.0))) == []
    assert whisper.transcribe(Audio(np.empty(0, np.float32))) == []


def test_random_weights_are_not_believed(testdata, whisper):
    segments = whisper.transcribe(decode_audio(testdata / "audio" / "jfk.flac"))
    assert believed(segments) == []
    assert [one.text for one in dropped(segments)] == [segment.text for segment in segments]


def test_the_name_is_the_folder(whisper):
    assert whisper.name == "random-tiny-ct2"


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"model\.bin"):
        WhisperTranscriber(tmp_path)


def test_improbable_segments_come_out_with_their_scores_instead_of_vanishing(testdata, whisper):
    segments = whisper.transcribe(decode_audio(testdata / "audio" / "jfk.flac"))
    assert min(segment.avg_logprob for segment in segments) < -1.0


def test_the_model_is_asked_in_the_guarded_way(tmp_path, noise):
    """Only the voice, nothing carried over, one temperature, and nothing dropped before `transcript_gates` has seen it."""
    for name in ("model.bin", "config.json"):
        (tmp_path / name).touch()
    asked = {}

    class Model:
        def transcribe(self, samples, **options):
            asked.update(options)
            return iter(()), None

    guarded = WhisperTranscriber(tmp_path, "en", VoiceSettings(threshold=0.7, min_voice_s=0.1))
    guarded.__dict__["_model"] = Model()
    assert guarded.transcribe(Audio(noise(1.0))) == []
    assert asked["vad_filter"] is True
    assert asked["vad_parameters"]["threshold"] == 0.7
    assert asked["vad_parameters"]["min_speech_duration_ms"] == 100
    assert asked["condition_on_previous_text"] is False
    assert asked["no_speech_threshold"] is None
    assert asked["temperature"] == 0.0
    assert asked["language"] == "en"
