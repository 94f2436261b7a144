"""What follows from a scene's description."""

import pytest

from lafid_assets.sample_footage.scenes import Appearance, Scene, Shot, Sound


def scene(*people: str, sound: Sound = Sound.AMBIENCE, lips_move: bool = False) -> Scene:
    shots = tuple(Shot(duration_s=1.5, people=(Appearance(person=person),)) for person in people)
    return Scene(name="a scene", shots=shots, sound=sound, lips_move=lips_move, caption="")


def test_the_id_is_32_hex_digits_of_the_name_alone() -> None:
    assert scene("collins").clip_id == scene("hopper", sound=Sound.VOICE).clip_id
    assert len(scene("collins").clip_id) == 32
    int(scene("collins").clip_id, 16)


def test_a_person_in_two_shots_is_one_person() -> None:
    assert scene("collins", "hopper", "collins").persons == ("collins", "hopper")
    assert scene("collins", "hopper").duration_s == 3.0


@pytest.mark.parametrize(
    ("sound", "lips_move", "status"),
    [
        (Sound.VOICE, True, "on_screen"),
        (Sound.VOICE, False, "off_screen"),
        (Sound.AMBIENCE, True, "silent"),
        (Sound.AMBIENCE, False, "silent"),
        (Sound.NO_STREAM, True, "no_audio"),
    ],
)
def test_who_speaks_follows_from_sound_and_lips(sound: Sound, lips_move: bool, status: str) -> None:
    assert scene("collins", sound=sound, lips_move=lips_move).speaking_status == status


def test_nobody_says_who_speaks_among_two() -> None:
    assert scene("collins", "hopper", sound=Sound.VOICE).speaking_status is None
    assert scene(sound=Sound.VOICE).speaking_status is None
