"""Faces from frame to frame: like one another, like all views of the person, turned so far."""

import numpy as np
import pytest

from model.evaluation.measures.faces_over_time import MULTI_VIEW_SIMILARITY, POSE_RANGE, TEMPORAL_CONSISTENCY, YAW_REACHED
from model.evaluation.measures.networks import Networks
from model.evaluation.measures.record import Absent, Measure, Sight
from tests.model.evaluation.measures.invented import frame_face, person, video

X, Y, BETWEEN = (1.0, 0.0), (0.0, 1.0), (0.6, 0.8)


@pytest.fixture
def measured(without_networks: Networks):
    def measure(measure: Measure, faces: list[object], *views: tuple[float, float]) -> float | Absent:
        return measure.compute(Sight(video(faces=faces, person=person(*(views or (X,)))), without_networks))

    return measure


def _embedded(*embeddings: tuple[float, float] | None) -> list[object]:
    return [None if one is None else frame_face(embedding=one) for one in embeddings]


def test_neighbouring_faces_are_compared(measured) -> None:
    assert measured(TEMPORAL_CONSISTENCY, _embedded(X, X, BETWEEN, Y)) == pytest.approx((1 + 0.6 + 0.8) / 3)


def test_a_face_that_comes_and_goes_is_not_consistent(measured) -> None:
    assert measured(TEMPORAL_CONSISTENCY, _embedded(X, None, X, X)) == pytest.approx(1 / 3)
    assert measured(TEMPORAL_CONSISTENCY, _embedded(X)) == Absent("it takes two drawn frames")


def test_each_face_is_as_like_as_its_best_view(measured) -> None:
    assert measured(MULTI_VIEW_SIMILARITY, _embedded(X, BETWEEN, None), X, Y) == pytest.approx((1 + 0.8 + 0) / 3)
    assert measured(MULTI_VIEW_SIMILARITY, _embedded(X, BETWEEN), X) == pytest.approx((1 + 0.6) / 2)


def test_a_pose_range_takes_no_notice_of_single_frames(measured) -> None:
    faces: list[object] = [frame_face(yaw_deg=yaw) for yaw in np.linspace(-60, 40, 21)]
    assert measured(POSE_RANGE, [*faces, None, frame_face(yaw_deg=None)]) == pytest.approx(90)
    assert measured(YAW_REACHED, faces) == pytest.approx(55)
    outlier = [frame_face(yaw_deg=5.0)] * 40 + [frame_face(yaw_deg=89.0)]
    assert measured(POSE_RANGE, outlier) == 0
    assert measured(YAW_REACHED, outlier) == 5


@pytest.mark.parametrize("faces", [[], [None, None]])
def test_without_a_face_there_is_nothing(measured, faces: list[object]) -> None:
    nobody = Absent("no drawn frame shows a face")
    assert [measured(measure, faces) for measure in (TEMPORAL_CONSISTENCY, MULTI_VIEW_SIMILARITY)] == [nobody] * 2
    assert [measured(measure, faces) for measure in (POSE_RANGE, YAW_REACHED)] == [Absent("the engine told no pose")] * 2
