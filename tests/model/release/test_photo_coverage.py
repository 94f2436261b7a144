"""A further photo helps by another pose or another expression."""

import re

import numpy as np
import pytest

from model.face_engine.interface import Expression, Face
from model.face_engine.rotations import rotation_from_angles
from model.release.photo_coverage import what_photos_add

STILL = Expression(0.1, 0.2, 0.4)


def face(yaw_deg: float | None, pitch_deg: float = 0.0, expression: Expression | None = STILL, mouth: float | None = 0.0) -> Face:
    rotation = None if yaw_deg is None else rotation_from_angles(yaw_deg, pitch_deg, 0).astype(np.float32)
    return Face((0, 0, 4, 4), 1.0, np.zeros((0, 2), np.float32), rotation, None, mouth, expression)


CASES: dict[str, tuple[Face | None, str]] = {
    "the same again": (face(5), r"^photo 3 adds nothing: as frontal as photo 1 \(5 degrees apart\), with the same expression$"),
    "another side": (face(-40), r"^photo 3 adds a view: yaw -40, .*40 degrees from the nearest$"),
    "from below": (face(0, 30), r"^photo 3 adds a view: yaw \+0, pitch \+30"),
    "turned as before": (face(58), r"^photo 3 adds nothing: turned as photo 2 \(3 degrees apart\)"),
    "an open mouth": (face(5, mouth=0.2), r"^photo 3 adds an expression: yaw \+5, .*as photo 1, but the face moves$"),
    "a smile": (face(0, expression=Expression(0.1, 0.2, 0.5)), r"^photo 3 adds an expression"),
    "an expression nobody measured": (face(0, expression=None, mouth=None), r"^photo 3 adds nothing"),
    "no pose": (face(None), r"^photo 3 adds a face whose pose is unknown$"),
    "nobody": (None, r"^photo 3 adds nothing: no face found$"),
}


@pytest.mark.parametrize("case", CASES)
def test_beside_a_frontal_photo_and_one_turned_by_55_degrees(case: str) -> None:
    third, message = CASES[case]
    lines = what_photos_add([face(0), face(55), third])
    assert lines[0] == "photo 1 is what the video is conditioned on: yaw +0, pitch +0 degrees"
    assert lines[1].startswith("photo 2 adds a view")
    assert re.search(message, lines[2]), lines[2]
