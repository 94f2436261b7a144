"""Cutting out, reproportioning and toning a portrait."""

import numpy as np
import pytest
from numpy.typing import NDArray

from lafid_assets.sample_footage.face_sheet import FACE_WIDTH_PX, make_face_sheet, reproportioned
from lafid_assets.sample_footage.persons import PERSONS, Person, Proportions, Tone
from lafid_assets.sample_footage.portraits import COLLINS, HOPPER
from lafid_assets.sample_footage.relief import HeadFrame
from lafid_assets.sample_footage.render import Landmarks


@pytest.fixture
def points(collins_landmarks_px: NDArray[np.float64]) -> NDArray[np.float64]:
    return HeadFrame.of(collins_landmarks_px).landmarks


def test_no_change_of_proportions_changes_nothing(points: NDArray[np.float64]) -> None:
    assert np.allclose(reproportioned(points, Proportions()), points)


def width(points: NDArray[np.float64], left: int, right: int) -> float:
    return float(points[right, 0] - points[left, 0])


@pytest.mark.parametrize(
    ("field", "left", "right"),
    [("eye_spacing", 39, 42), ("nose_width", 31, 35), ("mouth_width", 48, 54), ("chin_width", 7, 9), ("jaw_width", 4, 12)],
)
def test_a_width_grows_with_its_proportion(points: NDArray[np.float64], field: str, left: int, right: int) -> None:
    wider = reproportioned(points, Proportions(**{field: 0.1}))
    narrower = reproportioned(points, Proportions(**{field: -0.1}))
    assert width(narrower, left, right) < width(points, left, right) < width(wider, left, right)


@pytest.mark.parametrize(
    ("field", "point"), [("eye_height", 37), ("brow_height", 19), ("nose_length", 33), ("mouth_height", 51), ("chin_length", 8)]
)
def test_a_height_sinks_with_its_proportion(points: NDArray[np.float64], field: str, point: int) -> None:
    assert reproportioned(points, Proportions(**{field: 0.1}))[point, 1] > points[point, 1] + 0.03


def test_a_tilt_lowers_the_outer_corners_of_both_eyes(points: NDArray[np.float64]) -> None:
    tilted = reproportioned(points, Proportions(eye_tilt=0.2))
    assert tilted[36, 1] > points[36, 1] + 0.02
    assert tilted[45, 1] > points[45, 1] + 0.02


def test_every_sheet_has_the_same_face_width(landmarks: Landmarks) -> None:
    for person in (PERSONS["collins"], PERSONS["hopper"]):
        sheet = make_face_sheet(person, landmarks[person.portrait.name])
        assert sheet.frame.half_width_px == pytest.approx(FACE_WIDTH_PX / 2)


def test_the_sitter_is_opaque_the_background_is_gone(landmarks: Landmarks) -> None:
    sheet = make_face_sheet(PERSONS["collins"], landmarks["collins"])
    x, y = (round(v) for v in sheet.frame.origin_px)
    assert sheet.texture[y, x, 3] == 255
    assert sheet.texture[5, 5].tolist() == [0, 0, 0, 0]


def test_the_picture_follows_the_moved_landmarks(landmarks: Landmarks) -> None:
    plain = make_face_sheet(PERSONS["hopper"], landmarks["hopper"])
    long_nosed = Person(name="x", portrait=HOPPER, voice_pitch_hz=100, proportions=Proportions(nose_length=0.3))
    moved = make_face_sheet(long_nosed, landmarks["hopper"])
    before, after = (sheet.frame.to_px(sheet.frame.landmarks[33]).round().astype(int) for sheet in (plain, moved))
    assert after[1] - before[1] > 5

    def patch(texture: NDArray[np.uint8], at: NDArray[np.int64]) -> NDArray[np.float64]:
        return texture[at[1] - 4 : at[1] + 5, at[0] - 4 : at[0] + 5, :3].astype(float)

    followed = np.abs(patch(moved.texture, after) - patch(plain.texture, before)).mean()
    stayed = np.abs(patch(moved.texture, before) - patch(plain.texture, before)).mean()
    assert followed < stayed / 2


def test_tones_change_what_they_name(landmarks: Landmarks) -> None:
    def texture(tone: Tone) -> NDArray[np.float64]:
        person = Person(name="x", portrait=COLLINS, voice_pitch_hz=100, tone=tone)
        return make_face_sheet(person, landmarks["collins"]).texture.astype(float)

    frame = make_face_sheet(PERSONS["collins"], landmarks["collins"]).frame
    cheek, crown, suit = ((int(x), int(y)) for x, y in (frame.to_px(np.array(p)) for p in ((0.5, 0.3), (0.0, -1.0), (-1.2, 3.5))))
    plain = texture(Tone())

    def change(tone: Tone, at: tuple[int, int]) -> float:
        window = np.s_[at[1] - 4 : at[1] + 5, at[0] - 4 : at[0] + 5, :3]
        return float(np.abs(texture(tone)[window] - plain[window]).mean())

    assert change(Tone(skin_depth=0.5), cheek) > 10 > 3 > change(Tone(skin_depth=0.5), suit)
    assert change(Tone(hair_depth=1.0), crown) > 10 > 3 > change(Tone(hair_depth=1.0), cheek)
    assert change(Tone(clothes_hue_deg=150), suit) > 30 > 3 > change(Tone(clothes_hue_deg=150), cheek)
