"""The chosen face, its crop, and errors that name the remedy."""

from collections.abc import Callable

import numpy as np
import pytest

from model.encoding.face_processor import FaceError, align, head_and_shoulders, process_face
from model.encoding.head_mask import OvalMask

OVAL = OvalMask()
IMAGE = np.random.default_rng(0).integers(0, 200, (80, 100, 3), dtype=np.uint8)


def test_no_face_names_the_remedy(stub_engine: Callable) -> None:
    with pytest.raises(FaceError, match="no face found by stub: give a sharp picture"):
        process_face(IMAGE, stub_engine(faces=0), OVAL)


def test_several_faces_must_be_chosen_from(stub_engine: Callable) -> None:
    with pytest.raises(FaceError, match='3 faces found: crop the picture, or choose "largest" or a number'):
        process_face(IMAGE, stub_engine(faces=3), OVAL)


def test_choices(stub_engine: Callable) -> None:
    engine = stub_engine(faces=2)
    boxes = [face.box_xyxy_px for face in engine.detect(IMAGE)]
    assert process_face(IMAGE, engine, OVAL, "largest").box_xyxy_px == boxes[0]
    assert process_face(IMAGE, engine, OVAL, 1).box_xyxy_px == boxes[1]
    with pytest.raises(FaceError, match="no face number 2: 2 found"):
        process_face(IMAGE, engine, OVAL, 2)
    with pytest.raises(FaceError, match="no face number -1"):
        process_face(IMAGE, engine, OVAL, -1)


def test_the_crop_is_the_picture_around_the_face_on_white() -> None:
    crop = head_and_shoulders(IMAGE, (40, 30, 60, 50), OVAL)
    assert crop.shape == (48, 48, 3)
    cut = IMAGE[18:66, 26:74]
    kept = (crop == cut).all(axis=-1)
    assert (crop[~kept] == 255).all()
    assert kept[12:32, 14:34].all(), "the face itself"
    assert kept[-4:, 6:-6].all(), "the shoulders"
    assert not kept[:30, :6].any(), "what is beside the head"
    assert 0.5 < kept.mean() < 0.75


def test_the_oval_tilts_with_the_landmarks_and_shoulders_do_not() -> None:
    image = np.zeros((200, 200, 3), np.uint8)
    upright = np.array(((90, 90), (110, 90), (100, 100), (92, 110), (108, 110)), np.float32)
    angle = np.deg2rad(30)
    turn = np.array(((np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))), np.float32)
    tilted = (upright - 100) @ turn.T + 100  # clockwise in the image
    box = (80.0, 80.0, 120.0, 120.0)
    straight, turned = (head_and_shoulders(image, box, OVAL, points) == 0 for points in (upright, tilted))
    columns = np.arange(96)

    def middle(mask: np.ndarray, row: int) -> float:
        return float(columns[mask[row, :, 0]].mean())

    assert middle(straight, 8) == pytest.approx(47.5, abs=0.6)
    assert middle(turned, 8) > 52
    assert np.array_equal(straight[-8:], turned[-8:])
    assert np.array_equal(head_and_shoulders(image, box, OVAL), head_and_shoulders(image, box, OVAL, upright)), (
        "the box stands in"
    )


def test_beyond_the_picture_it_is_white() -> None:
    crop = head_and_shoulders(IMAGE, (0, 0, 20, 20), OVAL)
    assert (crop[:12] == 255).all()
    assert (crop[:, :14] == 255).all()
    assert np.array_equal(crop[14:32, 14:34], IMAGE[2:20, :20])


def test_a_face_outside_the_picture_gives_a_white_crop() -> None:
    assert (head_and_shoulders(IMAGE, (500, 500, 520, 520), OVAL) == 255).all()


def test_alignment_brings_the_five_points_to_arcfaces_places() -> None:
    places = np.array(((38, 52), (74, 52), (56, 72), (42, 92), (71, 92)), np.float32)
    picture = np.zeros((224, 224, 3), np.uint8)
    turn = np.array(((0.0, -1.6), (1.6, 0.0)), np.float32)  # a quarter turn, enlarged
    points = (places - 56) @ turn.T + 112
    for channel, (x, y) in enumerate(points[[0, 1, 3]]):
        picture[round(float(y)) - 3 : round(float(y)) + 4, round(float(x)) - 3 : round(float(x)) + 4, channel] = 255
    aligned = align(picture, points)
    assert aligned is not None
    assert aligned.shape == (112, 112, 3)
    for channel, place in enumerate(places[[0, 1, 3]]):
        rows, columns = np.nonzero(aligned[:, :, channel] > 128)
        assert (columns.mean(), rows.mean()) == pytest.approx(tuple(place), abs=1.0)


def test_without_landmarks_nothing_is_aligned(stub_engine: Callable) -> None:
    face = process_face(IMAGE, stub_engine(), OVAL)
    assert face.aligned is None
    assert face.angles == (0.0, 0.0, 0.0)
    assert process_face(IMAGE, stub_engine(rotation=None), OVAL).angles is None
