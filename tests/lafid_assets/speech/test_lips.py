"""One face is followed through the wanted stretches, and what cannot be measured stays unmeasured."""

from itertools import pairwise

import numpy as np
import pytest

from lafid_assets.speech.lips import LipSettings, MouthTrack, silent_windows, track_mouth, voice_reach_s
from lafid_assets.speech.voice import Span, spans_within

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


@pytest.mark.parametrize(("speed_px", "detections"), [(0, 6), (1, 10)])
def test_a_face_that_moves_fast_is_searched_more_often(
    tmp_path, write_clip, mouth_pictures, painted_engine, speed_px, detections
):
    """By a sixth of its width in a quarter of a second."""
    pictures = np.concatenate([mouth_pictures([0.1], left_px=speed_px * i // 2) for i in range(50)])
    engine = painted_engine()
    track = track_mouth(write_clip(tmp_path / "clip", pictures=pictures), [Span(0.0, 2.0)], engine, EVERY_PICTURE)
    assert engine.detections == len(track.searched_s) == detections
    assert (np.diff(track.searched_s) > 0).all()
    assert track.measurable_share == 1.0
    assert set(track.run) == {1}


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


VOICE = [Span(0.0, 2.0), Span(3.0, 4.0), Span(5.0, 9.0)]


@pytest.mark.parametrize(
    ("duration_s", "around_s", "near"),
    [
        (4.0, 0.0, [Span(0.0, 2.0), Span(3.0, 4.0), Span(5.0, 6.0)]),
        (3.0, 0.0, [Span(0.0, 2.0), Span(3.0, 4.0)]),
        (3.0, 6.5, [Span(5.0, 8.0)]),
        (5.0, 4.5, [Span(1.0, 2.0), Span(3.0, 4.0), Span(5.0, 8.0)]),
        (7.0, 100.0, VOICE),
        (30.0, 0.0, VOICE),
    ],
)
def test_the_nearest_voice_reaches_as_far_as_it_lasts(duration_s, around_s, near):
    reach_s = voice_reach_s(VOICE, duration_s, around_s)
    assert spans_within(VOICE, around_s - reach_s, around_s + reach_s) == near


def test_two_passes_are_one_track_in_order_of_time():
    def track(begin_s, runs):
        times_s = begin_s + np.arange(len(runs)) / FPS
        return MouthTrack(times_s, times_s / 10, -times_s, np.array(runs), times_s[::2], np.arange(len(times_s[::2])))

    middle, around = track(2.0, [0, 0, 1, 1]), track(0.0, [0] * 30 + [1] * 60)
    around = around.between(0.0, 1.9).joined(around.between(2.2, 9.0))
    joined = middle.joined(around)
    assert len(joined.times_s) == len(middle.times_s) + len(around.times_s)
    assert (np.diff(joined.times_s) > 0).all()
    assert (np.diff(joined.searched_s) > 0).all()
    np.testing.assert_array_equal(joined.openings, joined.times_s / 10)
    of_middle = (joined.times_s >= 2.0) & (joined.times_s < 2.16)
    assert not set(joined.run[of_middle]) & set(joined.run[~of_middle])
    assert len(set(joined.run[of_middle])) == 2


@pytest.mark.parametrize("duration_s", [0.5, 4.0, 4.1, 20.0])
def test_silent_windows_lie_within_the_clip_and_apart(duration_s):
    windows = silent_windows(duration_s, LipSettings(silent_windows=4))
    assert windows[0].start_s >= 0
    assert windows[-1].end_s <= duration_s + 1e-9
    assert all(before.end_s <= after.start_s + 1e-9 for before, after in pairwise(windows))
    assert sum(window.duration_s for window in windows) == pytest.approx(min(duration_s, 4.0))
