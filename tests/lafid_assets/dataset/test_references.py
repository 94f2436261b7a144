"""Reference faces: the sharpest of every pose."""

from collections.abc import Callable
from typing import Any

import polars as pl

from lafid_assets.dataset.references import FIELDS, choose_references
from lafid_assets.schemas import FACE_INFO


def _faces(row_of: Callable[..., dict[str, Any]], *faces: tuple[float | None, float | None], clip: str = "a") -> pl.DataFrame:
    """Faces of frames 0, 1, ... as (yaw, sharpness)."""
    return FACE_INFO.frame(
        row_of(FACE_INFO, clip_id=clip, frame_index=n, face_index=0, yaw_deg=yaw, pitch_deg=0.0, roll_deg=0.0, sharpness=sharp)
        for n, (yaw, sharp) in enumerate(faces)
    )


def _frames(faces: pl.DataFrame) -> dict[str, list[int]]:
    chosen = choose_references(faces)
    return {clip: [reference["frame_index"] for reference in references] for clip, references in chosen.iter_rows()}


def test_sharpest_of_every_bin_most_frontal_first(row_of: Callable[..., dict[str, Any]]) -> None:
    faces = _faces(row_of, (-30, 5), (0, 1), (1, 9), (30, 2), (28, 8))
    assert _frames(faces) == {"a": [2, 4, 0]}


def test_equal_sharpness_takes_the_earlier_frame(row_of: Callable[..., dict[str, Any]]) -> None:
    assert _frames(_faces(row_of, (0, 5), (0, 5))) == {"a": [0]}


def test_at_most_eight(row_of: Callable[..., dict[str, Any]]) -> None:
    faces = _faces(row_of, *((yaw, 1.0) for yaw in range(-80, 90, 10)))
    chosen = _frames(faces)["a"]
    assert len(chosen) == 8
    assert chosen[0] == 8, "yaw 0"


def test_unmeasured_and_second_faces_are_no_references(row_of: Callable[..., dict[str, Any]]) -> None:
    second = row_of(FACE_INFO, clip_id="a", frame_index=5, face_index=1, yaw_deg=0.0, sharpness=99.0)
    faces = pl.concat([_faces(row_of, (None, 5), (0, None), (10, 1)), FACE_INFO.frame([second])])
    assert _frames(faces) == {"a": [2]}
    assert _frames(_faces(row_of, (None, 5))) == {}


def test_clips_keep_apart_and_a_reference_holds_where_it_is_from(row_of: Callable[..., dict[str, Any]]) -> None:
    faces = pl.concat([_faces(row_of, (0, 5)), _faces(row_of, (20, 1), (20, 2), clip="b")])
    assert _frames(faces) == {"a": [0], "b": [1]}
    chosen = dict(choose_references(faces).iter_rows())
    assert set(chosen["b"][0]) == set(FIELDS)
    assert chosen["b"][0]["yaw_deg"] == 20
