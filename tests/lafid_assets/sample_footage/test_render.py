"""From scenes to frames."""

from itertools import pairwise

import numpy as np
import pytest

from lafid_assets.sample_footage.render import Studio, mouth_level, pose_at
from lafid_assets.sample_footage.scenes import Appearance, Motion, Scene, Shot
from lafid_assets.sample_footage.voice import SAMPLE_RATE_HZ

MOTION = Motion(yaw_deg=(-30.0, 20.0), pitch_deg=(-8.0, 8.0), roll_deg=(-10.0, 14.0), period_s=2.0)


def test_a_period_covers_every_range_to_its_ends() -> None:
    poses = [pose_at(MOTION, time_s) for time_s in np.linspace(0, 2, 401)]
    for angle, ends in (("yaw_deg", MOTION.yaw_deg), ("pitch_deg", MOTION.pitch_deg), ("roll_deg", MOTION.roll_deg)):
        values = [getattr(pose, angle) for pose in poses]
        assert min(values) == pytest.approx(ends[0], abs=0.1)
        assert max(values) == pytest.approx(ends[1], abs=0.1)


def test_yaw_spends_its_time_evenly() -> None:
    yaws = [pose_at(MOTION, time_s).yaw_deg for time_s in np.linspace(0, 2, 400, endpoint=False)]
    counts, _ = np.histogram(yaws, bins=5, range=MOTION.yaw_deg)
    assert counts.max() < 1.5 * counts.min()


def test_the_mouth_follows_loudness_and_stays_shut_without() -> None:
    loudness = np.linspace(0, 1, SAMPLE_RATE_HZ, dtype=np.float32)
    levels = [mouth_level(loudness, time_s) for time_s in (0.0, 0.5, 1.0, 5.0)]
    assert levels == sorted(levels)
    assert levels[0] == 0
    assert levels[2] == levels[3] == 10
    assert mouth_level(None, 0.5) == 0


def test_frames_are_counted_sized_and_cut(studio: Studio) -> None:
    still = Motion(yaw_deg=(0, 0), pitch_deg=(0, 0), roll_deg=(0, 0))
    shots = tuple(Shot(duration_s=0.25, people=(Appearance(person=p, motion=still),)) for p in ("collins", "hopper"))
    scene = Scene(name="test cut", shots=shots, caption="", size=(320, 240), fps=24)
    frames = list(studio.frames(scene, None))
    assert len(frames) == 12
    assert {frame.shape for frame in frames} == {(240, 320, 3)}
    steps = [np.abs(a.astype(int) - b).mean() for a, b in pairwise(frames)]
    assert int(np.argmax(steps)) == 5
    assert max(steps) > 3 * np.median(steps)


def test_the_mouth_of_a_speaker_changes_between_two_loudnesses(studio: Studio) -> None:
    scene = Scene(name="test lips", shots=(Shot(duration_s=0.05, people=(Appearance(person="hopper"),)),), caption="")
    quiet, loud = (next(studio.frames(scene, np.full(4800, level, np.float32))) for level in (0.0, 1.0))
    changed = np.argwhere((quiet != loud).any(axis=-1))
    assert len(changed) > 300
    assert changed[:, 0].min() > 0.42 * 480
