"""The chosen face, its crop, and errors that name the remedy."""

from collections.abc import Callable

import numpy as np
import pytest

from model.face_processor import FaceError, head_and_shoulders, process_face

IMAGE = np.random.default_rng(0).integers(0, 200, (80, 100, 3), dtype=np.uint8)


def test_no_face_names_the_remedy(stub_engine: Callable) -> None:
    with pytest.raises(FaceError, match="no face found by stub: give a sharp picture"):
        process_face(IMAGE, stub_engine(faces=0))


def test_several_faces_must_be_chosen_from(stub_engine: Callable) -> None:
    with pytest.raises(FaceError, match='3 faces found: crop the picture, or choose "largest" or a number'):
        process_face(IMAGE, stub_engine(faces=3))


def test_choices(stub_engine: Callable) -> None:
    engine = stub_engine(faces=2)
    boxes = [face.box_xyxy_px for face in engine.detect(IMAGE)]
    assert process_face(IMAGE, engine, "largest").box_xyxy_px == boxes[0]
    assert process_face(IMAGE, engine, 1).box_xyxy_px == boxes[1]
    with pytest.raises(FaceError, match="no face number 2: 2 found"):
        process_face(IMAGE, engine, 2)
    with pytest.raises(FaceError, match="no face number -1"):
        process_face(IMAGE, engine, -1)


def test_the_crop_is_the_picture_around_the_face() -> None:
    crop = head_and_shoulders(IMAGE, (40, 30, 60, 50))
    assert crop.shape == (48, 48, 3)
    assert np.array_equal(crop, IMAGE[18:66, 26:74])


def test_beyond_the_picture_it_is_white() -> None:
    crop = head_and_shoulders(IMAGE, (0, 0, 20, 20))
    assert (crop[:12] == 255).all()
    assert (crop[:, :14] == 255).all()
    assert np.array_equal(crop[12:, 14:], IMAGE[:36, :34])


def test_a_face_outside_the_picture_gives_a_white_crop() -> None:
    assert (head_and_shoulders(IMAGE, (500, 500, 520, 520)) == 255).all()
