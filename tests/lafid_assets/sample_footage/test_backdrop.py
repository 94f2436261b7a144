"""Backgrounds."""

import numpy as np

from lafid_assets.sample_footage.backdrop import make_backdrop
from model.face_engine.dlib_engine import DlibEngine


def test_a_backdrop_moves_and_fills_the_frame() -> None:
    backdrop = make_backdrop((320, 240), seed=1)
    frames = [backdrop.at(time_s) for time_s in (0.0, 0.5)]
    assert frames[0].shape == (240, 320, 3)
    assert np.abs(frames[0].astype(int) - frames[1]).mean() > 1


def test_every_seed_is_another_room_and_the_same_seed_the_same() -> None:
    first, again, other = (make_backdrop((320, 240), seed).picture for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_nobody_is_seen_in_a_room() -> None:
    engine = DlibEngine()
    assert [engine.detect(make_backdrop((480, 480), seed).at(1.0), embed=False) for seed in range(3)] == [[], [], []]
