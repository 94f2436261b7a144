"""A clip is trained on where the head turns."""

from typing import Any

from lafid_assets.training.time_window import face_centre_xy_px, training_start_s
from model.clip_size import ClipSize

SIZE = ClipSize(frames=9, height=64, width=64, fps=4.0)
"""Windows of two seconds."""
NOBODY = dict.fromkeys(("box_x1", "box_y1", "box_x2", "box_y2", "yaw_deg", "pitch_deg", "roll_deg"))


def _place(time_s: float, yaw_deg: float | None = 0.0, x: float = 20.0) -> dict[str, Any]:
    box = {"box_x1": x, "box_y1": 10.0, "box_x2": x + 24, "box_y2": 34.0}
    return NOBODY | {"time_s": time_s} | box | (dict.fromkeys(("pitch_deg", "roll_deg"), 0.0) | {"yaw_deg": yaw_deg})


def _start_s(*places: dict[str, Any], duration_s: float = 10.0, window_s: tuple[float, float] | None = None) -> float:
    begin_s, end_s = window_s or (None, None)
    known = {"duration_s": duration_s, "height": 64, "width": 64, "window_start_s": begin_s, "window_end_s": end_s}
    return training_start_s(known | {"face_track": list(places)}, SIZE)


def test_the_turn_is_found_wherever_it_lies() -> None:
    yaws = [0.0, 2.0, 1.0, 0.0, 3.0, 40.0, 60.0, 58.0, 59.0, 60.0]
    assert _start_s(*(_place(float(second), yaw) for second, yaw in enumerate(yaws))) == 4.0


def test_it_is_trained_within_the_window_that_its_caption_tells_of() -> None:
    """A larger turn elsewhere does not count; a size longer than the window is laid around it."""
    turn = [_place(float(second), yaw) for second, yaw in enumerate([0.0, 80.0, 0.0, 0.0, 0.0, 5.0, 25.0, 25.0, 25.0, 25.0])]
    assert _start_s(*turn) == 0.0
    assert _start_s(*turn, window_s=(4.0, 9.0)) == 4.0
    assert _start_s(*turn, window_s=(6.0, 8.0)) == 6.0
    assert _start_s(*turn, window_s=(2.0, 3.0)) == 1.0, "all of the second from 2 to 3, and as much turn as goes with it"


def test_of_equal_windows_it_is_the_earliest() -> None:
    assert _start_s(*(_place(float(second)) for second in range(8))) == 0.0
    assert _start_s(*(_place(float(second), None) for second in range(8))) == 0.0, "without a pose, too"


def test_a_rotation_counts_and_not_a_difference_of_angles() -> None:
    """In profile pitch and roll turn about one axis: 60 degrees of both leave the head where it was."""
    profile = [_place(float(second), 89.9) for second in range(3)]
    profile[1] |= {"pitch_deg": 60.0, "roll_deg": 60.0}
    turn = [_place(5.0 + second, 15.0 * second) for second in range(3)]
    assert _start_s(*profile, NOBODY | {"time_s": 4.0}, *turn) == 5.0


def test_a_window_begins_with_the_face_and_shows_it() -> None:
    turn = {2.0: 0.0, 3.0: 50.0, 4.0: 50.0}
    places = [_place(second, turn[second]) if second in turn else NOBODY | {"time_s": second} for second in map(float, range(8))]
    assert _start_s(*places) == 2.0, "not 1.0, where nobody is there yet"
    absent = [NOBODY | {"time_s": second} for second in (4.0, 5.0)]
    whole = [_place(6.0, 0.0), _place(7.0, 20.0), _place(8.0, 45.0)]
    assert _start_s(_place(3.0, 0.0), *absent, *whole) == 6.0, "seen all along goes before turned a little further"


def test_a_window_ends_where_a_frame_was_seen() -> None:
    """The container may promise more than there is."""
    places = [_place(float(second), 20.0 * second) for second in range(4)]
    assert _start_s(*places, duration_s=60.0) == 0.0
    assert _start_s(*places[:2], duration_s=60.0) == 0.0, "what was looked at is shorter than a window"


def test_a_clip_too_short_for_any_window_begins_at_its_beginning() -> None:
    assert _start_s(_place(0.0), _place(1.0, 50.0), duration_s=1.5) == 0.0
    assert _start_s() == 0.0


def test_the_face_is_in_the_middle_of_its_own_window() -> None:
    track = [_place(0.0, x=0.0), _place(2.0, x=100.0), _place(3.0, x=110.0), _place(4.0, x=300.0), NOBODY | {"time_s": 4.5}]
    assert face_centre_xy_px(track, 2.0, 2.0) == (122.0, 22.0)
    assert face_centre_xy_px(track, 4.2, 1.0) is None
    assert face_centre_xy_px([], 0.0, 1.0) is None
