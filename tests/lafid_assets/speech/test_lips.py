"""One face is followed through the wanted stretches, and what cannot be measured stays unmeasured."""

from itertools import pairwise

import numpy as np
import pytest

from lafid_assets.speech.lips import LipSettings, MouthTrack, silent_windows, track_mouth, voiced_windows
from lafid_assets.speech.voice import Span

FPS = 25
EVERY_PICTURE = LipSettings(fps=FPS)


@pytest.fixture
def openings(syllables):
    """Three seconds of a speaking mouth, as shares of the face's height."""
    return 0.12 * syllables(np.arange(75) / FPS)


def test_openings_are_measured_in_every_look(tmp_path, write_clip, mouth_pictures, painted_engine, openings):
    path = write_clip(tmp_path / "clip", pictures=mouth_pictures(openings))
    track = track_mouth(path, [Span(0.0, 3.0)], painted_engine(yaw_deg=-12.0), EVERY_PICTURE)
    assert np.allclose(track.openings, openings, atol=0.002)
    assert track.measurable_share == track.face_share == 1.0
    assert track.several_faces_share == 0.0
    assert track.yaw_abs_median_deg == pytest.approx(12.0, abs=0.01)
    assert set(track.run) == {1}


def test_detection_runs_in_every_third_look_only(tmp_path, write_clip, mouth_pictures, painted_engine, openings):
    path = write_clip(tmp_path / "clip", pictures=mouth_pictures(openings))
    engine = painted_engine()
    track = track_mouth(path, [Span(0.0, 3.0)], engine, LipSettings(fps=FPS, detect_every=3))
    assert len(track.times_s) == 75
    assert engine.detections == len(track.face_counts) == 26


def test_looks_without_a_face_are_not_measured(tmp_path, write_clip, mouth_pictures, painted_engine):
    path = write_clip(tmp_path / "clip", pictures=mouth_pictures([0.1] * 25 + [None] * 25 + [0.1] * 25))
    track = track_mouth(path, [Span(0.0, 3.0)], painted_engine(), EVERY_PICTURE)
    inside = (track.times_s > 1.0) & (track.times_s < 1.95)
    assert np.isnan(track.openings[inside]).all()
    assert np.isfinite(track.openings[track.times_s < 0.8]).all()
    assert np.isfinite(track.openings[track.times_s > 2.2]).all()
    assert track.face_share == pytest.approx(2 / 3, abs=0.06)
    assert len(set(track.run[np.isfinite(track.openings)])) == 2


def test_a_jump_to_another_face_begins_a_new_run(tmp_path, write_clip, mouth_pictures, painted_engine):
    left, right = mouth_pictures([0.05] * 25, left_px=0), mouth_pictures([0.2] * 25, left_px=32)
    path = write_clip(tmp_path / "clip", pictures=np.concatenate([left, right]))
    track = track_mouth(path, [Span(0.0, 2.0)], painted_engine(), EVERY_PICTURE)
    seen = track.openings[np.isfinite(track.openings)]
    assert set(np.round(seen, 2)) == {0.05, 0.2}
    first, second = (set(track.run[np.isclose(track.openings, opening, atol=0.01)]) for opening in (0.05, 0.2))
    assert not first & second


def test_further_faces_are_counted(tmp_path, write_clip, mouth_pictures, painted_engine):
    path = write_clip(tmp_path / "clip", pictures=mouth_pictures([0.1] * 25, faces=2))
    assert track_mouth(path, [Span(0.0, 1.0)], painted_engine(), EVERY_PICTURE).several_faces_share == 1.0


def test_spans_are_runs_of_their_own(tmp_path, write_clip, mouth_pictures, painted_engine, openings):
    path = write_clip(tmp_path / "clip", pictures=mouth_pictures(openings))
    track = track_mouth(path, [Span(0.0, 1.0), Span(2.0, 3.0)], painted_engine(), EVERY_PICTURE)
    assert not set(track.run[track.times_s <= 1.0]) & set(track.run[track.times_s >= 2.0])
    assert np.isfinite(track.openings).all()


def test_nothing_seen_is_none_not_zero():
    nothing = MouthTrack(*(np.empty(0) for _ in range(3)), np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64))
    assert nothing.measurable_share is None
    assert nothing.face_share is None
    assert nothing.several_faces_share is None
    assert nothing.yaw_abs_median_deg is None


def test_voice_is_looked_at_up_to_the_budget():
    voice = [Span(0.0, 2.0), Span(3.0, 4.0), Span(5.0, 9.0)]
    assert voiced_windows(voice, LipSettings(max_duration_s=4.0)) == [Span(0.0, 2.0), Span(3.0, 4.0), Span(5.0, 6.0)]
    assert voiced_windows(voice, LipSettings(max_duration_s=3.0)) == [Span(0.0, 2.0), Span(3.0, 4.0)]
    assert voiced_windows([], LipSettings()) == []


def test_voice_is_looked_at_about_the_window_first():
    voice = [Span(0.0, 2.0), Span(3.0, 4.0), Span(5.0, 9.0)]
    near = voiced_windows(voice, LipSettings(max_duration_s=3.0), around_s=6.5)
    assert near == [Span(5.0, 8.0)]
    assert voiced_windows(voice, LipSettings(max_duration_s=5.0), around_s=4.5) == [
        Span(1.0, 2.0),
        Span(3.0, 4.0),
        Span(5.0, 8.0),
    ]
    assert voiced_windows(voice, LipSettings(max_duration_s=7.0), around_s=100.0) == voice


@pytest.mark.parametrize("duration_s", [0.5, 4.0, 4.1, 20.0])
def test_silent_windows_lie_within_the_clip_and_apart(duration_s):
    windows = silent_windows(duration_s, LipSettings(silent_windows=4))
    assert windows[0].start_s >= 0
    assert windows[-1].end_s <= duration_s + 1e-9
    assert all(before.end_s <= after.start_s + 1e-9 for before, after in pairwise(windows))
    assert sum(window.duration_s for window in windows) == pytest.approx(min(duration_s, 4.0))
