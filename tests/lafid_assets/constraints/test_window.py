"""The window holds the turn, and only what is longer than a window has one."""

from collections.abc import Callable
from typing import Any

import polars as pl

from lafid_assets.constraints.window import clip_windows
from lafid_assets.schemas import FACE_FRAMES, FACE_INFO

RowOf = Callable[..., dict[str, Any]]
CLIPS = pl.DataFrame({"clip_id": ["a"]})


def _windows(row_of: RowOf, yaws: list[float | None], length_s: float) -> list[tuple[float, float]]:
    """Of a clip with a frame a second; None: a frame without a face."""
    still = {"pitch_deg": 0.0, "roll_deg": 0.0}
    frames = [row_of(FACE_FRAMES, clip_id="a", frame_index=n, time_s=float(n)) for n in range(len(yaws))]
    faces = [
        row_of(FACE_INFO, clip_id="a", frame_index=n, face_index=index, yaw_deg=yaw if index == 0 else 80.0, **still)
        for n, yaw in enumerate(yaws)
        for index in (0, 1)
        if yaw is not None
    ]
    found = clip_windows(CLIPS, FACE_INFO.frame(faces), FACE_FRAMES.frame(frames), length_s)
    return found.select("window_start_s", "window_end_s").rows()


def test_it_is_where_the_main_face_turns(row_of: RowOf) -> None:
    assert _windows(row_of, [0.0, 1.0, 0.0, 2.0, 30.0, 60.0, 60.0, 60.0], 2.0) == [(3.0, 5.0)]
    assert _windows(row_of, [0.0, None, 40.0, 20.0, 20.0, 50.0], 2.0) == [(3.0, 5.0)], "seen all along"


def test_a_clip_that_is_no_longer_is_used_whole(row_of: RowOf) -> None:
    assert _windows(row_of, [0.0, 30.0, 60.0], 2.0) == [(0.0, 2.0)]
    assert _windows(row_of, [0.0, 30.0, 60.0], 2.1) == []


def test_a_clip_without_poses_has_the_first_seconds_with_a_face(row_of: RowOf) -> None:
    """A policy may keep it."""
    frames = FACE_FRAMES.frame(row_of(FACE_FRAMES, clip_id="a", frame_index=n, time_s=float(n)) for n in range(5))
    faces = FACE_INFO.frame(row_of(FACE_INFO, clip_id="a", frame_index=n, face_index=0, yaw_deg=None) for n in range(1, 5))
    assert clip_windows(CLIPS, faces, frames, 2.0).rows() == [("a", 1.0, 3.0)]
    assert clip_windows(CLIPS, faces, frames.filter(pl.col("frame_index") < 0), 2.0).rows() == []
