"""The same face through a clip."""

import numpy as np
import pytest

from lafid_assets.faces.tracks import TrackRules, overlap, track_faces
from model.face_engine.interface import Box, Face

RULES = TrackRules(min_overlap=0.3, min_cosine=0.25, rejoin_cosine=0.6)
ANNA, BERT = np.array([1.0, 0.0], np.float32), np.array([0.0, 1.0], np.float32)


def _face(left: float, embedding: np.ndarray | None = None, size: float = 100.0) -> Face:
    return Face((left, 0.0, left + size, size), 0.9, np.zeros((5, 2), np.float32), None, embedding, None)


def test_overlap_carries_a_track_along() -> None:
    assert track_faces([[_face(0)], [_face(30)], [_face(60)]], RULES) == [[0], [0], [0]]


def test_two_faces_keep_their_tracks_when_their_order_changes() -> None:
    frames = [[_face(0, size=100), _face(300, size=90)], [_face(310, size=95), _face(5, size=90)]]
    assert track_faces(frames, RULES) == [[0, 1], [1, 0]]


def test_a_cut_puts_another_person_in_the_same_place() -> None:
    assert track_faces([[_face(0, ANNA)], [_face(0, BERT)], [_face(0, ANNA)]], RULES) == [[0], [1], [0]]


def test_embeddings_tell_faces_that_change_places() -> None:
    frames = [[_face(0, ANNA), _face(60, BERT)], [_face(60, ANNA), _face(0, BERT)]]
    assert track_faces(frames, RULES) == [[0, 1], [0, 1]]


def test_of_two_likely_tracks_overlap_and_likeness_together_choose() -> None:
    alike = np.array([0.6, 0.8], np.float32)
    frames = [[_face(0, ANNA), _face(40, alike)], [_face(10, alike), _face(30, ANNA)]]
    assert track_faces(frames, RULES) == [[0, 1], [1, 0]]


def test_a_face_that_was_hidden_comes_back_as_itself() -> None:
    frames = [[_face(0, ANNA)], [], [_face(500, BERT)], [_face(800, ANNA)]]
    assert track_faces(frames, RULES) == [[0], [], [1], [0]]


def test_without_embeddings_or_figures_overlap_decides() -> None:
    by_overlap = TrackRules(min_overlap=0.3, min_cosine=None, rejoin_cosine=None)
    assert track_faces([[_face(0, ANNA)], [_face(0, BERT)], [_face(500, BERT)]], by_overlap) == [[0], [0], [1]]
    assert track_faces([[_face(0)], [_face(500)]], RULES) == [[0], [1]]


def test_a_track_has_one_face_a_frame() -> None:
    assert track_faces([[_face(0)], [_face(0), _face(10)]], RULES) == [[0], [0, 1]]


@pytest.mark.parametrize(
    ("b", "expected"), [((0, 0, 10, 10), 1.0), ((5, 0, 15, 10), 1 / 3), ((10, 0, 20, 10), 0.0), ((2, 2, 4, 4), 0.04)]
)
def test_overlap_is_intersection_over_union(b: Box, expected: float) -> None:
    assert overlap((0, 0, 10, 10), b) == pytest.approx(expected)
