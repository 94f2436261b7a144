"""How views are turned, of all clips at once."""

import numpy as np

from model.clips.view_poses import ViewPoses


def _poses(*clips: tuple[float, ...]) -> ViewPoses:
    """Of clips with views at these yaws, the last of them the first frame's."""
    return ViewPoses([np.array([[yaw, 0, 0] for yaw in yaws], np.float32) for yaws in clips])


def test_the_frontal_view_is_the_one_turned_least_whatever_the_first_frame_shows() -> None:
    poses = _poses((30, -10, 60, 0), (-40, 0), (5, -5.5, 80))
    assert [poses.frontal(clip) for clip in range(3)] == [1, 0, 0]
    assert [poses.count(clip) for clip in range(3)] == [3, 1, 2]


def test_a_turn_is_a_rotation_and_not_its_yaw() -> None:
    poses = ViewPoses([np.array([[0, 50, 0], [20, 0, 0], [0, 0, 0]], np.float32)])
    assert poses.frontal(0) == 1


def test_the_first_frames_view_is_a_spread_one_where_it_is_the_same_picture() -> None:
    poses = _poses((0, 60, -60, 12), (0, 60, -60, 60))
    assert [poses.first_frame(clip) for clip in range(2)] == [3, 1]


def test_pairs_lie_apart_by_the_floor_and_never_hold_the_first_frame() -> None:
    """To the last digit of float32, in either order."""
    poses = _poses((0, 20, -45, 90), (0, 19.9, 90), (7, 90))
    assert poses.pairs_apart(0, 20.0).tolist() == [[0, 1], [0, 2], [1, 0], [1, 2], [2, 0], [2, 1]]
    assert poses.pairs_apart(0, 46.0).tolist() == [[1, 2], [2, 1]]
    assert len(poses.pairs_apart(1, 20.0)) == 0
    assert len(poses.pairs_apart(2, 0.0)) == 0, "a view is no pair with itself"
