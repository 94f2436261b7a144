"""Faces from frame to frame: like one another, like all views of the person, turned so far, speaking or not."""

from collections.abc import Sequence

import numpy as np
import pytest

from model.evaluation.measures.faces_over_time import (
    lip_activity,
    lip_agreement,
    multi_view_similarity,
    pose_range_deg,
    temporal_consistency,
    yaw_reached_deg,
)
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


SPEAKING, STILL, UNSURE = ([extent * (n % 2) for n in range(16)] for extent in (0.06, 0.005, 0.02))
BORDERS = (0.012, 0.03)


def _lips_measured(openings: Sequence[float | None], status: str, **facts: object) -> tuple[float | str, float | str]:
    faces = [None if opening is None else frame_face(mouth_opening=opening) for opening in openings]
    of = video(faces=faces, speaking_status=status, **{"lip_borders": BORDERS} | facts)
    return taken(lip_activity, of), taken(lip_agreement, of)


@pytest.mark.parametrize(
    ("openings", "status", "agrees"),
    [
        (SPEAKING, "on_screen", 1.0),
        (STILL, "on_screen", 0.0),
        (SPEAKING, "off_screen", 0.0),
        (STILL, "off_screen", 1.0),
        (STILL, "silent", 1.0),
        (SPEAKING, "silent", 0.0),
    ],
)
def test_lips_do_what_the_caption_says_or_not(openings: list[float], status: str, agrees: float) -> None:
    activity, agreement = _lips_measured(openings, status)
    assert activity == pytest.approx(max(openings))
    assert agreement == agrees


@pytest.mark.parametrize(
    ("openings", "status", "borders", "reason"),
    [
        (SPEAKING, "no_audio", BORDERS, "undecidable: the caption's speaking status is no_audio"),
        (SPEAKING, "undecidable", BORDERS, "undecidable: the caption's speaking status is undecidable"),
        (UNSURE, "silent", BORDERS, "undecidable: lips move by 0.020, between 0.012 (still) and 0.03 (speaking)"),
        (SPEAKING, "on_screen", None, "the engine of the bench has no borders"),
        ([None] * 16, "on_screen", BORDERS, "no mouth was measured in any drawn frame"),
        (SPEAKING[:5], "on_screen", BORDERS, "no second has six frames with a measured mouth"),
    ],
)
def test_what_cannot_be_decided_is_absent(openings, status, borders, reason) -> None:
    assert str(_lips_measured(openings, status, lip_borders=borders)[1]).startswith(reason)


def test_frames_without_a_mouth_are_left_out() -> None:
    """A second of 8 frames, of which six show it: their 90th minus 10th percentile, by hand."""
    openings = [0.0, 0.1, None, 0.2, 0.3, None, 0.4, 0.5]
    activity, _ = _lips_measured(openings, "on_screen")
    assert activity == pytest.approx(np.subtract(*np.percentile([0, 0.1, 0.2, 0.3, 0.4, 0.5], [90, 10])))


def test_a_second_is_a_second_at_any_rate() -> None:
    """A mouth that opens slowly over four seconds does not speak."""
    slowly = np.linspace(0, 0.2, 64)
    assert _lips_measured(slowly, "silent", fps=16.0)[0] == pytest.approx(0.2 / 63 * 15 * 0.8)
