"""What is heard: speech for a speech detector, and what it must not take for speech."""

import io

import numpy as np
import pytest
from faster_whisper.audio import decode_audio
from faster_whisper.vad import VadOptions, get_speech_timestamps

from lafid_assets.sample_footage.encode import encode_mp4
from lafid_assets.sample_footage.voice import SAMPLE_RATE_HZ, Samples, ambience, speak


def voiced_share(sound: Samples, threshold: float = 0.5) -> float:
    """Share of the sound that Silero VAD takes for speech, after its way through an mp4."""
    frames = [np.zeros((64, 64, 3), np.uint8)] * round(24 * len(sound) / SAMPLE_RATE_HZ)
    heard = decode_audio(io.BytesIO(encode_mp4(frames, 24, (64, 64), sound)))
    spans = get_speech_timestamps(heard, VadOptions(threshold=threshold))
    return sum(span["end"] - span["start"] for span in spans) / len(heard)


@pytest.mark.parametrize("pitch_hz", [110.0, 200.0])
def test_the_voice_is_taken_for_speech(pitch_hz: float) -> None:
    assert voiced_share(speak(3.0, pitch_hz, seed=3).samples) > 0.8


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_room_is_not_taken_for_speech_even_by_a_credulous_detector(seed: int) -> None:
    room = ambience(3.0, seed)
    assert np.abs(room).max() > 0.05
    assert voiced_share(room, threshold=0.2) == 0


def test_loudness_follows_the_sound() -> None:
    speech = speak(4.0, 120.0, seed=1)
    assert len(speech.samples) == len(speech.loudness) == 4 * SAMPLE_RATE_HZ
    assert np.abs(speech.samples).max() <= 1
    assert 0 <= speech.loudness.min() < speech.loudness.max() <= 1
    blocks = (len(speech.samples) // 960, 960)
    energy = np.sqrt((speech.samples.reshape(blocks) ** 2).mean(axis=1))
    assert np.corrcoef(energy, speech.loudness.reshape(blocks).mean(axis=1))[0, 1] > 0.6


def test_the_voice_pauses() -> None:
    silent = speak(4.0, 120.0, seed=1).loudness == 0
    assert 0.1 < silent.mean() < 0.5


def test_the_same_seed_says_the_same() -> None:
    assert np.array_equal(speak(1.0, 120.0, 5).samples, speak(1.0, 120.0, 5).samples)
    assert not np.array_equal(speak(1.0, 120.0, 5).samples, speak(1.0, 120.0, 6).samples)


def test_a_sound_too_short_for_a_syllable_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.2 s hold no syllable"):
        speak(0.2, 120.0, seed=0)
