"""Likeness: a cosine a face, a bin for every pose and expression, and nothing for a frame that shows no face."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from model.face_engine.interface import EngineInfo, Expression, Face, Image
from model.face_engine.rotations import rotation_from_angles
from model.likeness import EXPRESSION_BINS, YAW_BINS, Likeness, MeasuredFace, MeasuredVideo, likeness_of, measure_video

PERSON = np.array([1.0, 0.0], np.float32)
STILL = Expression(eye_opening=0.1, brow_height=0.2, mouth_width=0.4)


def _face(cosine: float, yaw_deg: float | None = 0.0, opening: float | None = 0.0, expression: Expression | None = STILL) -> Face:
    return Face(
        box_xyxy_px=(0, 0, 1, 1),
        score=1.0,
        landmarks_px=np.zeros((0, 2), np.float32),
        rotation=None if yaw_deg is None else rotation_from_angles(yaw_deg, 0, 0).astype(np.float32),
        embedding=np.array([cosine, np.sqrt(1 - cosine**2)], np.float32),
        mouth_opening=opening,
        expression=expression,
    )


@dataclass
class Told:
    """An engine that finds in a picture what its first pixel numbers."""

    found: Sequence[list[Face]]
    info: EngineInfo = field(default=EngineInfo("told", "1", 2, "none", "told"))

    def detect(self, image_rgb: Image, *, embed: bool = True) -> list[Face]:
        return self.found[int(image_rgb[0, 0, 0])]


def _measure(found: Sequence[list[Face]], reference: np.ndarray = PERSON, **info: str) -> MeasuredVideo:
    """The first of `found` is that of the given picture."""
    pictures = np.arange(len(found), dtype=np.uint8)[:, None, None, None].repeat(3, axis=3)
    engine = Told(
        found, EngineInfo(**{"name": "told", "version": "1", "licence": "none", "fingerprint": "told"} | info, embedding_dim=2)
    )  # type: ignore[arg-type]
    return measure_video(pictures[1:], reference, pictures[0], engine)  # type: ignore[arg-type]


def _counts(likeness: Likeness) -> tuple[list[int], list[int]]:
    return [found.frames for found in likeness.by_yaw.values()], [found.frames for found in likeness.by_expression.values()]


def test_every_frame_is_in_one_bin_of_each_kind_or_shows_no_face() -> None:
    drawn = [
        [_face(0.9, yaw_deg=-19.9)],
        [_face(0.7, yaw_deg=20.1, opening=0.2), _face(-1.0)],  # a smaller face beside the person's does not count
        [_face(0.5, yaw_deg=-45)],
        [_face(0.3, yaw_deg=90, opening=None)],
        [_face(0.1, yaw_deg=None, opening=None, expression=None)],
        [],
    ]
    likeness = likeness_of([_measure([[_face(1.0)], *drawn])])
    assert tuple(likeness.by_yaw) == YAW_BINS
    assert tuple(likeness.by_expression) == EXPRESSION_BINS
    assert (likeness.frames, likeness.frames_without_face, _counts(likeness)) == (6, 1, ([1, 1, 1, 1, 1], [2, 1, 2]))
    assert likeness.mean == pytest.approx((0.9 + 0.7 + 0.5 + 0.3 + 0.1 + 0) / 6)
    figures = likeness.figures()
    assert figures["likeness"] == likeness.mean
    assert figures["face_found_share"] == pytest.approx(5 / 6)
    assert (figures["likeness_yaw_20_40"], figures["likeness_expression_changed"]) == pytest.approx((0.7, 0.7))
    assert figures["likeness_expression_kept"] == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("given", "drawn", "bin_"),
    [
        ([_face(1)], _face(1, opening=0.049), "expression_kept"),
        ([_face(1)], _face(1, expression=STILL._replace(brow_height=0.26)), "expression_changed"),
        ([_face(1, opening=0.2)], _face(1, opening=0.2), "expression_kept"),
        ([_face(1, expression=None)], _face(1), "expression_unknown"),
        ([], _face(1), "expression_unknown"),
    ],
)
def test_an_expression_is_another_than_that_of_the_given_picture(given: list[Face], drawn: Face, bin_: str) -> None:
    likeness = likeness_of([_measure([given, [drawn]])])
    assert [name for name, found in likeness.by_expression.items() if found.frames] == [bin_]


def test_where_no_face_is_drawn_there_is_no_number() -> None:
    likeness = likeness_of([_measure([[_face(1)], [], []])])
    assert (likeness.frames, likeness.frames_without_face, likeness.mean) == (2, 2, None)
    assert {name for name, value in likeness.figures().items() if value is not None} == {"face_found_share"}
    assert set(likeness_of([]).figures().values()) == {None}


def test_videos_count_by_their_frames() -> None:
    long, short = (
        MeasuredVideo(tuple(MeasuredFace(cosine, 0.0, None) for _ in range(n)), "s") for cosine, n in ((0.2, 3), (1.0, 1))
    )
    assert likeness_of([long, short]).mean == pytest.approx(0.4)


def test_only_what_was_drawn_of_the_same_persons_and_measured_alike_is_comparable() -> None:
    found = [[_face(1)], [_face(0.5)]]
    first = _measure(found)
    assert likeness_of([first]).subjects == likeness_of([_measure([[_face(1)], []])]).subjects
    others = [[_measure(found, -PERSON)], [_measure(found, fingerprint="newer")], [first, first]]
    assert len({likeness_of(videos).subjects for videos in ([first], *others)}) == 4


def test_an_embedding_of_another_engine_is_refused() -> None:
    with pytest.raises(ValueError, match="a reference of 3 numbers is none of told's"):
        _measure([[_face(1)]], np.ones(3, np.float32))
