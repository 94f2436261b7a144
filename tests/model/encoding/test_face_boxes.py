"""The face's place in every latent frame."""

import numpy as np
import pytest

from model.encoding.face_boxes import boxes_in_latents
from model.encoding.video_io import Window, cut_window

WHOLE = Window(0, 0, 100, 100)
UNSEEN = [np.nan] * 4


def _places(*boxes: list[float]) -> np.ndarray:
    return np.array(boxes, np.float32)


def test_between_two_moments_the_box_moves_in_a_straight_line() -> None:
    boxes = boxes_in_latents([0.0, 0.5], _places([0, 0, 20, 20], [40, 0, 60, 20]), WHOLE, frames=9, fps=8, temporal_factor=1)
    assert boxes.shape == (9, 4)
    assert boxes[:, 0] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4, 0.4])  # after the last moment it stays
    assert boxes[2] == pytest.approx([0.2, 0, 0.4, 0.2])


def test_a_latent_frame_is_placed_by_the_middle_of_its_frames() -> None:
    boxes = boxes_in_latents([0.0, 1.0], _places([0, 0, 20, 20], [80, 0, 100, 20]), WHOLE, frames=9, fps=8, temporal_factor=4)
    assert boxes[:, 0] == pytest.approx([0, 0.8 * 2.5 / 8, 0.8 * 6.5 / 8])


def test_where_the_face_was_not_seen_there_is_no_box() -> None:
    boxes = boxes_in_latents([0.0, 0.5, 1.0], _places([0, 0, 20, 20], UNSEEN, UNSEEN), WHOLE, frames=9, fps=8, temporal_factor=1)
    assert np.isnan(boxes).all(axis=1).tolist() == [False] * 3 + [True] * 6
    assert boxes[2] == pytest.approx([0, 0, 0.2, 0.2])
    assert np.isnan(boxes_in_latents([], _places(), WHOLE, 9, 8, 1)).all()


def test_shares_are_of_what_is_encoded() -> None:
    window = cut_window(100, 200, 64, 64, centre_xy_px=(150, 50))
    assert window == Window(100, 0, 100, 100)
    inside, across, outside = _places([110, 10, 150, 60], [60, 10, 150, 60], [10, 10, 50, 60])
    boxes = boxes_in_latents([0, 1, 2], np.stack([inside, across, outside]), window, frames=3, fps=1, temporal_factor=1)
    assert boxes[0] == pytest.approx([0.1, 0.1, 0.5, 0.6])
    assert boxes[1] == pytest.approx([0, 0.1, 0.5, 0.6])
    assert np.isnan(boxes[2]).all()
