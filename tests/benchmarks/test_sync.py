"""The experiment of lips under sounds: what it counts, and that lips are read once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import sync
from lafid_assets.speech.lips import MouthTrack
from lafid_assets.speech.speaking_status import SpeechPolicy
from lafid_assets.speech.synchrony import Envelope
from lafid_assets.speech.voice import Span
from model.face_engine.interface import EngineInfo


def _speaker(name: str, seed: int, *, dubbed: bool = False) -> sync.Speaker:
    """Lips that follow their own sound over 8 s, or another's where `dubbed`."""
    rng = np.random.default_rng(seed)
    times_s, steps = np.arange(200) / 25, np.convolve(rng.standard_normal(800), np.hanning(12), "same")
    envelope = np.convolve(np.random.default_rng(seed + 100).standard_normal(800), np.hanning(12), "same") if dubbed else steps
    openings = np.interp(times_s + 0.08, (np.arange(800) + 0.5) / 100, steps)
    track = MouthTrack(times_s, openings, 0 * times_s, np.zeros(200, np.int64), times_s[:1], np.ones(1, np.int64))
    return sync.Speaker(name, track, [Span(0.0, 8.0)], Envelope(envelope), 0.05)


def test_speakers_are_told_from_dubs_and_those_that_are_not_are_named() -> None:
    speakers = [_speaker(name, seed) for seed, name in enumerate("abc")] + [_speaker("dubbed", 9, dubbed=True)]
    found = sync.summarise(speakers[:3], "dlib", SpeechPolicy())
    assert (found["true_pairs"], found["dubs"]) == (3, 6)
    assert found["auc"] == found["auc_correlation"] == found["policy_true"] == 1.0
    assert found["not_carried"] == []
    assert {row["offset_s"] for row in found["rows"]} <= {0.04, 0.08, 0.12}
    assert sync.summarise(speakers, "dlib", SpeechPolicy())["not_carried"] == ["dubbed"]


def test_area_and_curve_count_pairs() -> None:
    true, dubs = np.array([3.0, 1.0]), np.array([0.0, 1.0, 2.0, 0.0])
    assert sync.area_under_roc(true, dubs) == pytest.approx((4 + 2.5) / 8)
    curve = sync.roc(true, dubs)
    assert [row["dubs"] for row in curve] == list(sync.DUB_SHARES)
    assert curve[0] == {"dubs": 0.01, "threshold": pytest.approx(1.97), "true": 0.5}


def test_lips_are_read_once_a_clip_and_mouth_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip, tracked = tmp_path / "a.mp4", []
    clip.write_bytes(b"film")

    class Heard:
        samples, sample_rate_hz = np.zeros(32_000, np.float32), 16_000

    class Engine:
        def __init__(self, fingerprint: str) -> None:
            self.info = EngineInfo("e", "1", 1, "none", fingerprint, mouth="dlib")

    def track(path: Path, *_: Any) -> MouthTrack:
        tracked.append(path)
        return _speaker("a", 0).lips

    monkeypatch.setattr(sync, "decode_audio", lambda _: Heard())
    monkeypatch.setattr(sync, "voice_spans", lambda _: [Span(0.0, 2.0)])
    monkeypatch.setattr(sync, "track_mouth", track)
    first, again, other = (sync.read_speaker(clip, Engine(name), tmp_path / "cache") for name in ("x", "x", "y"))
    assert len(tracked) == 2
    assert first is not None
    assert again is not None
    assert other is not None
    np.testing.assert_array_equal(first.lips.openings, again.lips.openings)
    np.testing.assert_array_equal(first.sound.values, again.sound.values)
    assert first.voice == again.voice == [Span(0.0, 2.0)]
