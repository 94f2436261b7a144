"""Which seconds of a clip are trained on at some size, where they begin and where the face is in them.

Belongs here: rows of the dataset -> these. Not here: how a window is chosen (`constraints.window`), how long it is
(`model.clip_size`), which part of a frame is cut (`model.encoding.video_io`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lafid_assets.constraints.window import SAME_TIME_S, window_starts_s, within
from lafid_assets.dataset.face_tracks import ANGLES, BOX
from model.clip_size import ClipSize

Row = Mapping[str, Any]


def training_start_s(clip: Row, size: ClipSize) -> float:
    """Where training of a clip begins, seconds since its first frame; 0 where it is too short for any size.

    In the clip's own window, or around it where the size is longer.

    Args:
        clip: `face_track`, `duration_s`, `height`, `width` and window of a row of `lafid_dataset`.
    """
    bucket = size.bucket_for(clip["duration_s"], clip["height"], clip["width"])
    if bucket is None or not clip["face_track"]:
        return 0.0
    times_s, boxes, angles_deg = _columns(clip["face_track"])
    own = None if clip["window_start_s"] is None else (clip["window_start_s"], clip["window_end_s"])
    seen = np.asarray(np.isfinite(boxes).all(axis=1))
    start_s = window_starts_s(times_s[None], seen[None], angles_deg[None], size.window_s(bucket), own)[0]
    return 0.0 if np.isnan(start_s) else float(start_s)


def first_place(track: Sequence[Row], start_s: float) -> Row | None:
    """The analysed frame with which a window begins; None where none was analysed there."""
    return next((place for place in track if abs(place["time_s"] - start_s) <= SAME_TIME_S), None)


def face_centre_xy_px(track: Sequence[Row], start_s: float, window_s: float) -> tuple[float, float] | None:
    """The median of the face's middles in a window, in pixels of the footage; None where it is not seen there."""
    if not track:
        return None
    times_s, boxes, _ = _columns(track)
    inside = boxes[within(times_s, start_s, window_s)]
    inside = inside[np.isfinite(inside).all(axis=1)]
    if not len(inside):
        return None
    x, y = np.median((inside[:, :2] + inside[:, 2:]) / 2, axis=0).tolist()
    return x, y


def cut_centre_xy_px(clip: Row, start_s: float, window_s: float) -> tuple[float, float]:
    """The point that a clip is cut around, in pixels of the footage: its face in the window, else where its first reference was.

    Args:
        clip: `face_track` and `references` of a row of `lafid_dataset`.
    """
    seen = face_centre_xy_px(clip["face_track"], start_s, window_s)
    first = clip["references"][0]
    return seen or ((first["box_x1"] + first["box_x2"]) / 2, (first["box_y1"] + first["box_y2"]) / 2)


def _columns(track: Sequence[Row]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(N,) seconds, (N, 4) sides in pixels and (N, 3) angles in degrees; what was not seen becomes NaN."""
    times_s, boxes, angles_deg = ([[place[name] for name in names] for place in track] for names in (("time_s",), BOX, ANGLES))
    return np.array(times_s, np.float64)[:, 0], np.array(boxes, np.float64), np.array(angles_deg, np.float64)
