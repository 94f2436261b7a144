"""A voice is heard where there is one, and nowhere else."""

from itertools import pairwise

import numpy as np
import pytest

from lafid_assets.speech.audio import Audio
from lafid_assets.speech.voice import Span, VoiceSettings, voice_share, voice_spans

RATE_HZ = 16_000


def test_spans_lie_where_the_voice_is(synthetic_voice):
    silence = np.zeros(RATE_HZ, np.float32)
    audio = Audio(np.concatenate([silence, synthetic_voice(3.0), silence]))
    spans = voice_spans(audio)
    assert spans[0].start_s == pytest.approx(1.0, abs=0.1)
    assert spans[-1].end_s == pytest.approx(4.0, abs=0.15)
    assert voice_share(spans, audio) == pytest.approx(0.6, abs=0.1)


def test_a_long_pause_separates_spans(synthetic_voice):
    pause = np.zeros(RATE_HZ, np.float32)
    spans = voice_spans(Audio(np.concatenate([pause, synthetic_voice(2.0), pause, synthetic_voice(2.0, seed=1)])))
    gaps = [later.start_s - earlier.end_s for earlier, later in pairwise(spans)]
    assert any(gap > 0.7 for gap in gaps)
    assert all(gap >= 0 for gap in gaps)


def test_noise_is_no_voice(noise):
    assert voice_spans(Audio(noise(3.0))) == []


@pytest.mark.parametrize("length", [0, 3 * RATE_HZ])
def test_silence_is_no_voice(length):
    assert voice_spans(Audio(np.zeros(length, np.float32))) == []


def test_short_bursts_can_be_refused(synthetic_voice):
    samples = np.zeros(2 * RATE_HZ, np.float32)
    samples[RATE_HZ : RATE_HZ + RATE_HZ // 2] = synthetic_voice(3.0)[RATE_HZ : RATE_HZ + RATE_HZ // 2]
    audio = Audio(samples)
    assert voice_spans(audio)
    assert voice_spans(audio, VoiceSettings(min_voice_s=1.0)) == []


def test_share_of_no_audio_is_unknown():
    assert voice_share([], Audio(np.empty(0, np.float32))) is None
    assert Span(1.0, 2.5).duration_s == 1.5
