"""Which seconds of a clip are trained on: those in which the head turns most.

Belongs here: the face's places and poses over time -> where the window begins, and with what. Not here: how long a window is
(`model.clip_size`), which part of a frame is cut (`model.encoding.video_io`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lafid_assets.constraints.measures import spreads_deg
from lafid_assets.dataset.face_tracks import ANGLES, BOX
from model.clip_size import ClipSize

_SAME_TIME_S = 1e-6
Row = Mapping[str, Any]


def window_start_s(clip: Row, size: ClipSize) -> float:
    """Where the window of a clip begins, seconds since its first frame; 0 where it is too short for any.

    A window begins at an analysed frame and ends at another one or before, so that every frame of it exists. Of the windows that
    begin with a face, where there are any, it is the one with the largest rotation between two of its poses, times the share of
    its analysed frames that show the face; of equal ones the earliest.

    Args:
        clip: `face_track`, `duration_s`, `height` and `width` of a row of `lafid_dataset`.
    """
    bucket = size.bucket_for(clip["duration_s"], clip["height"], clip["width"])
    if bucket is None or not clip["face_track"]:
        return 0.0
    times_s, boxes, angles_deg = _columns(clip["face_track"])
    seen = np.asarray(np.isfinite(boxes).all(axis=1))
    fits = times_s + size.window_s(bucket) <= times_s[-1] + _SAME_TIME_S
    starts = np.flatnonzero(fits & seen) if (fits & seen).any() else np.flatnonzero(fits)
    if not len(starts):
        return 0.0
    worth = []
    for start in starts:
        inside = _inside(times_s, times_s[start], size.window_s(bucket))
        worth.append(round(_spread_deg(angles_deg[inside]) * float(seen[inside].mean()), 2))
    return float(times_s[starts[int(np.argmax(worth))]])


def first_place(track: Sequence[Row], start_s: float) -> Row | None:
    """The analysed frame with which a window begins; None where none was analysed there."""
    return next((place for place in track if abs(place["time_s"] - start_s) <= _SAME_TIME_S), None)


def face_centre_xy_px(track: Sequence[Row], start_s: float, window_s: float) -> tuple[float, float] | None:
    """The median of the face's middles in a window, in pixels of the footage; None where it is not seen there."""
    if not track:
        return None
    times_s, boxes, _ = _columns(track)
    inside = boxes[_inside(times_s, start_s, window_s)]
    inside = inside[np.isfinite(inside).all(axis=1)]
    if not len(inside):
        return None
    x, y = np.median((inside[:, :2] + inside[:, 2:]) / 2, axis=0).tolist()
    return x, y


def cut_centre_xy_px(clip: Row, start_s: float, window_s: float) -> tuple[float, float]:
    """Around what a clip is cut, in pixels of the footage: its face in the window, else where its first reference was seen.

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


def _inside(times_s: NDArray[np.float64], start_s: float, window_s: float) -> NDArray[np.bool_]:
    return (times_s >= start_s - _SAME_TIME_S) & (times_s <= start_s + window_s + _SAME_TIME_S)


def _spread_deg(angles_deg: NDArray[np.float64]) -> float:
    """Largest rotation between two of (N, 3) poses; 0 where there are no two."""
    known = angles_deg[np.isfinite(angles_deg).all(axis=1)].astype(np.float32)
    return float(spreads_deg(*known.T[:, None])[0]) if len(known) > 1 else 0.0
