"""The real transcriber runs, is guarded, and its segments are judged by their scores."""

from dataclasses import replace

import numpy as np
import pytest

from lafid_assets.speech.audio import Audio, decode_audio
from lafid_assets.speech.transcript import (
    TranscriptGates,
    TranscriptSegment,
    WhisperTranscriber,
    believed,
    doubt,
    language_of,
)

GOOD = TranscriptSegment(0.0, 3.0, "Ask not what your country can do for you.", "en", -0.3, 0.05)


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
    assert language_of(segments) is None


def test_the_name_is_the_folder(whisper):
    assert whisper.name == "random-tiny-ct2"


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"model\.bin"):
        WhisperTranscriber(tmp_path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"text": ""}, "empty"),
        ({"no_speech_prob": 0.9}, "no_speech"),
        ({"avg_logprob": -1.5}, "improbable"),
        ({"text": "thank you " * 20, "end_s": 30.0}, "repetition"),
        ({"end_s": 0.5}, "too_fast"),
        ({"end_s": 0.0}, "too_fast"),
    ],
)
def test_each_gate_names_its_doubt(change, reason):
    segment = replace(GOOD, **change)
    assert doubt(segment, TranscriptGates()) == reason
    assert believed([segment]) == ([] if reason else [segment])


def test_language_is_that_of_most_believed_speech():
    french = replace(GOOD, language="fr", end_s=5.0)
    assert language_of([GOOD, french]) == "fr"
    assert language_of([GOOD, replace(french, avg_logprob=-3.0)]) == "en"
    assert language_of([]) is None
