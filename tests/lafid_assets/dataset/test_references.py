"""Reference faces: spread over poses, expressions and time, the sharpest of what is equally far."""

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from lafid_assets.dataset.references import MOST_CROSS_REFERENCES, choose_references, cross_references
from lafid_assets.schemas import FACES
from model.face_engine.rotations import rotation_from_angles

RowOf = Callable[..., dict[str, Any]]


def _face(
    row_of: RowOf, frame: int, yaw: float | None, sharpness: float | None = 5.0, look_deg: float = 0.0, **values: Any
) -> dict[str, Any]:
    """A face of 25 frames a second, whose embedding is a direction in the plane: its expression."""
    look = [float(np.cos(np.deg2rad(look_deg))), float(np.sin(np.deg2rad(look_deg)))]
    angles = {"yaw_deg": yaw, "pitch_deg": 0.0, "roll_deg": 0.0}
    rotation = None if yaw is None else rotation_from_angles(yaw, 0.0, 0.0).ravel().tolist()
    known = {"clip_id": "a", "frame_index": frame, "face_index": 0, "pts": frame, "time_base_num": 1, "time_base_den": 25}
    return row_of(FACES, **known | angles | {"rotation": rotation, "sharpness": sharpness, "embedding": look} | values)


def _faces(row_of: RowOf, *faces: tuple[float | None, float | None], clip: str = "a") -> pl.DataFrame:
    """Faces of frames 0, 1, ... as (yaw, sharpness)."""
    return FACES.frame(_face(row_of, n, yaw, sharp, clip_id=clip) for n, (yaw, sharp) in enumerate(faces))


def _frames(faces: pl.DataFrame, spread: str = "both") -> dict[str, list[int]]:
    chosen = choose_references(faces, spread)
    by_clip = {clip: rows for (clip,), rows in chosen.group_by("clip_id", maintain_order=True)}
    assert all(rows["reference_index"].to_list() == list(range(rows.height)) for rows in by_clip.values())
    return {clip: rows["frame_index"].to_list() for clip, rows in by_clip.items()}


def test_order_begins_frontal_and_goes_on_with_the_farthest(row_of: RowOf) -> None:
    """Whoever takes the first three gets both ends of the turn, and not the three most frontal faces."""
    yaws = [0, 5, -5, 15, -15, 40, -40, 80, -80]
    faces = _faces(row_of, *((yaw, 1.0) for yaw in yaws))
    for spread in ("both", "pose"):
        chosen = [yaws[frame] for frame in _frames(faces, spread)["a"]]
        assert chosen[0] == 0
        assert set(chosen[1:3]) == {-80, 80}
        assert set(chosen[3:5]) == {-40, 40}


def test_expressions_are_spread_as_well_as_poses(row_of: RowOf) -> None:
    """A head that turns with a straight face, and smiles once, near the frontal pose."""
    faces = FACES.frame([*(_face(row_of, n, 4.0 * n) for n in range(11)), _face(row_of, 11, 20.0, look_deg=40.0)])
    assert _frames(faces)["a"][:3] == [0, 11, 10]
    assert _frames(faces, "expression")["a"][:2] == [0, 11]
    assert 11 not in _frames(faces, "pose")["a"][:3]


def test_those_of_the_window_come_first_and_others_fill_up(row_of: RowOf) -> None:
    """Frames 0 to 2 lie before the window; there the head turns as far as in it, smiles, and is sharper."""
    before = [_face(row_of, n, 30.0 * n, 9.0, look_deg=40.0) for n in range(3)]
    window = [_face(row_of, n, 20.0 * (n - 3)) for n in range(3, 8)]
    faces = FACES.frame([*before, *window])
    outside = pl.DataFrame({"clip_id": ["a"] * 3, "frame_index": [0, 1, 2]}, schema_overrides={"frame_index": pl.Int32})
    chosen = choose_references(faces, outside=outside)
    assert chosen["frame_index"].to_list()[:2] == [3, 7]
    assert set(chosen["frame_index"].to_list()[:5]) == {3, 4, 5, 6, 7}
    assert set(chosen["frame_index"].to_list()[5:]) == {0, 1, 2}
    assert choose_references(faces)["frame_index"][0] == 0
    nowhere = outside.clear().vstack(faces.select("clip_id", "frame_index"))
    assert choose_references(faces, outside=nowhere).equals(choose_references(faces)), "no face in the window: all count"


def test_what_a_reference_adds_is_told(row_of: RowOf) -> None:
    chosen = choose_references(FACES.frame([_face(row_of, 0, 0.0), _face(row_of, 25, 30.0, look_deg=60.0)]))
    assert chosen["pose_gap_deg"].to_list() == [None, pytest.approx(30, abs=1e-3)]
    assert chosen["expression_gap"].to_list() == [None, pytest.approx(0.5)]
    assert "embedding" not in chosen.columns


def test_of_equally_far_faces_the_sharper_is_taken(row_of: RowOf) -> None:
    faces = _faces(row_of, (-30, 5), (0, 4), (4, 9), (30, 5), (31, 8))
    assert _frames(faces)["a"] == [2, 4, 0]


def test_faces_that_show_nothing_new_count_once(row_of: RowOf) -> None:
    assert _frames(_faces(row_of, (0, 5), (0, 5))) == {"a": [0]}


def test_a_blurred_face_is_no_reference_however_far_it_lies(row_of: RowOf) -> None:
    assert _frames(_faces(row_of, (0, 5), (20, 5), (60, 2))) == {"a": [0, 1]}


def test_unmeasured_and_second_faces_are_no_references(row_of: RowOf) -> None:
    second = _face(row_of, 5, 0.0, 99.0, face_index=1)
    unknown = _face(row_of, 6, 40.0, embedding=None)
    faces = pl.concat([_faces(row_of, (None, 5), (0, None), (10, 1)), FACES.frame([second, unknown])])
    assert _frames(faces) == {"a": [2]}
    assert _frames(_faces(row_of, (None, 5))) == {}


def test_only_the_main_track_refers(row_of: RowOf) -> None:
    """Somebody who is once larger than the person of the clip is not that person; the person, smaller there, still is."""
    faces = [_face(row_of, n, 20.0 * n, track_id=0) for n in range(3)]
    intruder = _face(row_of, 3, -40.0, 50.0, track_id=1)
    behind = _face(row_of, 3, -20.0, track_id=0, face_index=1)
    chosen = choose_references(FACES.frame([*faces, intruder, behind]))
    assert sorted(chosen["yaw_deg"].to_list()) == [-20, 0, 20, 40]
    assert set(chosen["track_id"]) == {0}


def test_clips_keep_apart(row_of: RowOf) -> None:
    faces = pl.concat([_faces(row_of, (0, 5)), _faces(row_of, (20, 1), (20, 2), clip="b")])
    assert _frames(faces) == {"a": [0], "b": [1]}


@pytest.fixture
def crossed() -> Callable[..., dict[str, list[dict[str, Any]]]]:
    def make(persons: dict[str, str], references: int = 3) -> dict[str, list[dict[str, Any]]]:
        rows = [{"clip_id": clip, "reference_index": n} for clip in persons for n in range(references)]
        identities = pl.DataFrame({"clip_id": list(persons), "identity_id": list(persons.values())})
        return dict(cross_references(pl.DataFrame(rows), identities).iter_rows())

    return make


def test_cross_references_stay_with_the_person(crossed: Callable[..., Any]) -> None:
    found = crossed({"a": "p", "b": "p", "c": "p", "d": "q"})
    assert {clip: {ref["clip_id"] for ref in refs} for clip, refs in found.items()} == {
        "a": {"b", "c"},
        "b": {"a", "c"},
        "c": {"a", "b"},
        "d": set(),
    }


def test_cross_references_are_few_however_many_clips_a_person_has(crossed: Callable[..., Any]) -> None:
    found = crossed({f"clip-{n}": "p" for n in range(50)})
    assert {len(refs) for refs in found.values()} == {MOST_CROSS_REFERENCES}
    for clip, refs in found.items():
        others = [ref["clip_id"] for ref in refs]
        assert clip not in others
        assert len(set(others)) == len(others)
        assert [ref["reference_index"] for ref in refs] == [0, 1, 2, 0, 1, 2, 0, 1]
