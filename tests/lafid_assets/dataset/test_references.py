"""Reference faces: at spread poses, the sharpest of each."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from lafid_assets.dataset.references import MOST_CROSS_REFERENCES, choose_references, cross_references
from lafid_assets.schemas import FACE_INFO

RowOf = Callable[..., dict[str, Any]]


def _face(row_of: RowOf, frame: int, yaw: float | None, sharpness: float | None, **values: Any) -> dict[str, Any]:
    pose = {"yaw_deg": yaw, "pitch_deg": 0.0, "roll_deg": 0.0, "sharpness": sharpness}
    return row_of(FACE_INFO, **{"clip_id": "a", "frame_index": frame, "face_index": 0} | pose | values)


def _faces(row_of: RowOf, *faces: tuple[float | None, float | None], clip: str = "a") -> pl.DataFrame:
    """Faces of frames 0, 1, ... as (yaw, sharpness)."""
    return FACE_INFO.frame(_face(row_of, n, yaw, sharp, clip_id=clip) for n, (yaw, sharp) in enumerate(faces))


def _frames(faces: pl.DataFrame) -> dict[str, list[int]]:
    chosen = choose_references(faces)
    by_clip = {clip: rows for (clip,), rows in chosen.group_by("clip_id", maintain_order=True)}
    assert all(rows["reference_index"].to_list() == list(range(rows.height)) for rows in by_clip.values())
    return {clip: rows["frame_index"].to_list() for clip, rows in by_clip.items()}


def test_sharpest_of_every_bin_most_frontal_first(row_of: RowOf) -> None:
    """Faces of one pose count once: those within a degree of each other."""
    faces = _faces(row_of, (-30, 5), (0, 1), (0.4, 9), (30, 2), (30.2, 8))
    assert _frames(faces) == {"a": [2, 0, 4]}


def test_equal_sharpness_takes_the_earlier_frame(row_of: RowOf) -> None:
    assert _frames(_faces(row_of, (0, 5), (0, 5))) == {"a": [0]}


def test_too_many_bins_keep_the_widest_spread(row_of: RowOf) -> None:
    yaws = list(range(-80, 90, 10))
    chosen = [yaws[frame] for frame in _frames(_faces(row_of, *((yaw, 1.0) for yaw in yaws)))["a"]]
    assert len(chosen) == 8
    assert chosen[0] == 0
    assert {-80, 80} < set(chosen)


def test_too_few_bins_are_filled_with_the_farthest_poses(row_of: RowOf) -> None:
    """One bin of yaw, and a nod: pitch and roll make poses, too."""
    nods = [_face(row_of, n, 0.0, 10.0 if n == 3 else 5.0, pitch_deg=float(4 * n)) for n in range(12)]
    chosen = _frames(FACE_INFO.frame(nods))["a"]
    assert len(chosen) == 8
    assert {0, 3, 11} <= set(chosen), "the sharpest of the bin, and both ends of the nod"


def test_of_equally_far_poses_the_sharper_is_taken(row_of: RowOf) -> None:
    faces = FACE_INFO.frame(
        [
            _face(row_of, 0, 0.0, 9.0),
            _face(row_of, 1, 0.0, 3.0, pitch_deg=20.3),
            _face(row_of, 2, 0.0, 8.0, pitch_deg=20.0),
        ]
    )
    assert _frames(faces)["a"] == [0, 2]


def test_unmeasured_and_second_faces_are_no_references(row_of: RowOf) -> None:
    second = _face(row_of, 5, 0.0, 99.0, face_index=1)
    faces = pl.concat([_faces(row_of, (None, 5), (0, None), (10, 1)), FACE_INFO.frame([second])])
    assert _frames(faces) == {"a": [2]}
    assert _frames(_faces(row_of, (None, 5))) == {}


def test_only_the_main_track_refers(row_of: RowOf) -> None:
    """Somebody who is once larger than the person of the clip is not that person; the person, smaller there, still is."""
    faces = [_face(row_of, n, 20.0 * n, 5.0, track_id=0) for n in range(3)]
    intruder = _face(row_of, 3, -40.0, 50.0, track_id=1)
    behind = _face(row_of, 3, -20.0, 5.0, track_id=0, face_index=1)
    chosen = choose_references(FACE_INFO.frame([*faces, intruder, behind]))
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
