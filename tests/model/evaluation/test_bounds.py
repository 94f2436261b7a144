"""Floor and ceiling of each bin against values worked out by hand."""

import math
from collections.abc import Sequence

import pytest

from model.evaluation.bench import BinBounds, GalleryFace, Person, SourceClip
from model.evaluation.bounds import bounds_of, nearest_picture
from model.face_engine.rotations import rotation_from_angles
from model.likeness import EXPRESSION_BINS, YAW_BINS

STILL = (0.1, 0.2, 0.4, 0.0)
SMILE = (0.1, 0.2, 0.46, 0.0)


def _face(
    angle: float, yaw: float | None, clip: str = "a", pts: int = 0, expression: tuple[float, float, float, float] | None = STILL
) -> GalleryFace:
    """A picture whose embedding points to `angle` degrees in the plane: cosines are those of the differences."""
    direction = (math.cos(math.radians(angle)), math.sin(math.radians(angle)))
    known = None if yaw is None else 0.0
    return GalleryFace(
        path="galleries/0.png",
        yaw_deg=yaw,
        pitch_deg=known,
        roll_deg=known,
        expression=expression,
        embedding=direction,
        clip_id=clip,
        pts=pts,
    )


def _person(name: str, *gallery: GalleryFace) -> Person:
    clip = SourceClip(clip_id="a", content_sha256="0" * 64, recording_id=None, source="s", licence="CC0-1.0")
    return Person(identity_id=name, gallery=gallery, clips=(clip,))


def _cos(*angles: float) -> float:
    return sum(math.cos(math.radians(angle)) for angle in angles) / len(angles)


def _is(found: BinBounds, floor: Sequence[float], ceiling: Sequence[float]) -> bool:
    counts = (found.stranger_pairs, found.same_person_pairs) == (len(floor), len(ceiling))
    means = (found.stranger_floor, found.same_person_ceiling)
    wanted = tuple(_cos(*angles) if angles else None for angles in (floor, ceiling))
    return counts and all(
        mean == want if want is None or mean is None else mean == pytest.approx(want)
        for mean, want in zip(means, wanted, strict=True)
    )


def test_two_persons_by_hand() -> None:
    """Person x has two clips, person y one; each picture is compared with the one nearest in pose."""
    x = _person("x", _face(0, 0, "a"), _face(10, 30, "b"), _face(30, 35, "a", 1))
    y = _person("y", _face(90, 5, "c", 0), _face(120, 32, "c", 1, SMILE))
    found = bounds_of([x, y])
    # x: frontal with b at 30; b with a at 35; a at 35 with b. y: its clip's other time, both ways.
    # strangers: 0 -> 90; 10 -> 120, 30 -> 120; 90 -> 0, 120 -> 10 and not 30, of about the same pose and the same expression.
    assert _is(found["yaw_0_20"], floor=[90, 90], ceiling=[10, 30])
    assert _is(found["yaw_20_40"], floor=[110, 90, 110], ceiling=[20, 20, 30])
    assert _is(found["yaw_40_60"], [], [])
    assert _is(found["yaw_unknown"], [], [])
    assert _is(found["expression_kept"], floor=[90, 110, 90, 90], ceiling=[10, 20, 20, 30])
    assert _is(found["expression_changed"], floor=[110], ceiling=[30])
    assert set(found) == {*YAW_BINS, *EXPRESSION_BINS}


def test_strangers_are_compared_with_and_not_asked_for_their_own_likeness() -> None:
    x = _person("x", _face(0, 0), _face(10, 0, pts=1))
    y = _person("y", _face(90, 0), _face(95, 70, pts=1))
    found = bounds_of([x], [y])
    assert _is(found["yaw_0_20"], floor=[90, 80], ceiling=[10, 10])
    assert _is(found["yaw_60_90"], [], [])


def test_another_clip_comes_before_another_time_of_the_same() -> None:
    nearer_in_time = _person("x", _face(0, 0, "a", 0), _face(1, 0, "a", 1), _face(40, 60, "b", 0))
    assert _is(bounds_of([nearer_in_time])["yaw_0_20"], [], ceiling=[40, 39])


def test_the_same_frame_twice_is_no_other_time_and_one_picture_no_pair() -> None:
    twice = _person("x", _face(0, 0, "a", 7), _face(1, 0, "a", 7))
    assert _is(bounds_of([twice])["yaw_0_20"], [], [])
    alone = _person("x", _face(0, 0))
    assert all(_is(bounds, [], []) for bounds in bounds_of([alone]).values())


def test_a_picture_without_pose_is_compared_with_the_frontal_one_and_counts_apart() -> None:
    x = _person("x", _face(0, 0), _face(5, None, "b", expression=None))
    y = _person("y", _face(60, 10), _face(90, -70, "d"))
    found = bounds_of([x, y])
    assert _is(found["yaw_unknown"], floor=[55], ceiling=[5])
    assert _is(found["expression_unknown"], floor=[55], ceiling=[5])
    assert _is(found["yaw_60_90"], floor=[90], ceiling=[30])


def test_left_and_right_are_one_bin_and_not_one_pose() -> None:
    x = _person("x", _face(0, 50, "a"), _face(50, -50, "b"), _face(8, 45, "c"))
    assert _is(bounds_of([x])["yaw_40_60"], [], ceiling=[8, 42, 8])


def test_of_pictures_about_as_near_the_one_of_the_same_expression_is_taken() -> None:
    gallery = [_face(0, 0, expression=SMILE), _face(0, 3), _face(0, 6), _face(0, 20)]
    frontal = rotation_from_angles(0.0, 0.0, 0.0)
    assert nearest_picture(gallery, frontal, STILL) == (1, pytest.approx(3.0))
    assert nearest_picture(gallery, frontal, SMILE) == (0, pytest.approx(0.0))
    assert nearest_picture(gallery, frontal, None) == (0, pytest.approx(0.0))
    assert nearest_picture(gallery, rotation_from_angles(90.0, 0.0, 0.0), SMILE) == (3, pytest.approx(70.0))
    assert nearest_picture(gallery, None, STILL) == (0, None)
    assert nearest_picture([_face(0, None)], frontal, STILL) == (0, None)
