"""Faces from frame to frame: like one another, like all views of the person, turned so far."""

import numpy as np
import pytest

from model.evaluation.measures.faces_over_time import multi_view_similarity, pose_range_deg, temporal_consistency, yaw_reached_deg
from tests.model.evaluation.measures.invented import frame_face, person, taken, video

X, Y, BETWEEN = (1.0, 0.0), (0.0, 1.0), (0.6, 0.8)


def _measured(measure, faces: list[object], *views: tuple[float, float]) -> float | str:
    return taken(measure, video(faces=faces, person=person(*(views or (X,)))))


def _embedded(*embeddings: tuple[float, float] | None) -> list[object]:
    return [None if one is None else frame_face(embedding=one) for one in embeddings]


def test_neighbouring_faces_are_compared() -> None:
    assert _measured(temporal_consistency, _embedded(X, X, BETWEEN, Y)) == pytest.approx((1 + 0.6 + 0.8) / 3)


def test_a_face_that_comes_and_goes_is_not_consistent() -> None:
    assert _measured(temporal_consistency, _embedded(X, None, X, X)) == pytest.approx(1 / 3)
    assert _measured(temporal_consistency, _embedded(X)) == "it takes two drawn frames"


def test_each_face_is_as_like_as_its_best_view() -> None:
    assert _measured(multi_view_similarity, _embedded(X, BETWEEN, None), X, Y) == pytest.approx((1 + 0.8 + 0) / 3)
    assert _measured(multi_view_similarity, _embedded(X, BETWEEN), X) == pytest.approx((1 + 0.6) / 2)


def test_a_pose_range_takes_no_notice_of_single_frames() -> None:
    faces: list[object] = [frame_face(yaw_deg=yaw) for yaw in np.linspace(-60, 40, 21)]
    assert _measured(pose_range_deg, [*faces, None, frame_face(yaw_deg=None)]) == pytest.approx(90)
    assert _measured(yaw_reached_deg, faces) == pytest.approx(55)
    outlier = [frame_face(yaw_deg=5.0)] * 40 + [frame_face(yaw_deg=89.0)]
    assert _measured(pose_range_deg, outlier) == 0
    assert _measured(yaw_reached_deg, outlier) == 5


@pytest.mark.parametrize("faces", [[], [None, None]])
def test_without_a_face_there_is_nothing(faces: list[object]) -> None:
    nobody = "no drawn frame shows a face"
    assert [_measured(measure, faces) for measure in (temporal_consistency, multi_view_similarity)] == [nobody] * 2
    assert [_measured(measure, faces) for measure in (pose_range_deg, yaw_reached_deg)] == ["the engine told no pose"] * 2
