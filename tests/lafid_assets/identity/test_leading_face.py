"""Which face of a frame is followed."""

from collections.abc import Callable
from typing import Any

from lafid_assets.identity.leading_face import leading_faces
from lafid_assets.schemas import FACES


def _leading(row_of: Callable[..., dict[str, Any]], *faces: tuple[int, int, int | None, float]) -> list[tuple[int, int]]:
    """Faces as (frame, face index, track, share of the frame); the (frame, face index) that lead."""
    columns = ("frame_index", "face_index", "track_id", "frame_share")
    rows = [row_of(FACES, clip_id="a", **dict(zip(columns, face, strict=True))) for face in faces]
    return leading_faces(FACES.frame(rows)).select("frame_index", "face_index").rows()


def test_main_track_leads_even_where_another_face_is_larger(row_of: Callable[..., dict[str, Any]]) -> None:
    faces = [(0, 0, 1, 0.1), (1, 0, 2, 0.15), (1, 1, 1, 0.1), (2, 0, 1, 0.1)]
    assert _leading(row_of, *faces) == [(0, 0), (1, 1), (2, 0)]


def test_main_track_is_the_one_that_fills_most_of_the_picture_over_time(row_of: Callable[..., dict[str, Any]]) -> None:
    faces = [(frame, index, index, share) for frame in range(3) for index, share in ((0, 0.05), (1, 0.04))]
    assert _leading(row_of, *faces, (3, 0, 1, 0.2)) == [(0, 1), (1, 1), (2, 1), (3, 0)]


def test_face_that_takes_over_leads_and_a_bystander_does_not(row_of: Callable[..., dict[str, Any]]) -> None:
    faces = [(0, 0, 1, 0.1), (1, 0, 1, 0.1), (2, 0, 1, 0.1), (3, 0, 2, 0.09), (4, 0, 3, 0.02)]
    assert _leading(row_of, *faces) == [(0, 0), (1, 0), (2, 0), (3, 0)]


def test_without_tracks_the_largest_face_leads(row_of: Callable[..., dict[str, Any]]) -> None:
    assert _leading(row_of, (0, 0, None, 0.1), (0, 1, None, 0.09), (1, 0, None, 0.01)) == [(0, 0), (1, 0)]
