"""The window of a clip: the seconds that hold its turn, as long as what a model is trained on.

Belongs here: places and poses of the main face over time -> where a window begins. Not here: which clips are kept (`decision`),
how long a training clip of some preset is (`model.clip_size`).

Latents, captions, references and who speaks are all of these seconds: a caption that tells of a wave of the hand eight seconds
before the first frame that is trained on teaches something false.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lafid_assets.constraints.measures import ANGLES, spreads_deg

SAME_TIME_S = 1e-6
WINDOW_COLUMNS = ("window_start_s", "window_end_s")
"""Of `pose_filtered_clips` and what follows from it; NULL: the whole clip."""

Times = NDArray[np.float64]
Seconds = tuple[float, float]


def window_start_s(
    times_s: Times, seen: NDArray[np.bool_], angles_deg: NDArray[np.float64], length_s: float, near_s: Seconds | None = None
) -> float | None:
    """Where the window begins, one of `times_s`; None where these do not span it.

    A window begins at an analysed frame and ends at another one or before, so that every frame of it exists. Of the windows that
    begin with a face, where there are any, it is the one with the largest rotation between two of its poses, times the share of
    its analysed frames that show the face; of equal ones the earliest.

    Args:
        times_s: (N,) of the analysed frames, rising.
        seen: (N,) whether a frame shows the face.
        angles_deg: (N, 3) yaw, pitch and roll; NaN where the pose is not known.
        near_s: from when to when it should be: only windows that share as much with it as any can come into question.
    """
    fits = times_s + length_s <= times_s[-1] + SAME_TIME_S if len(times_s) else np.zeros(0, np.bool_)
    if near_s is not None and fits.any():
        shared = np.minimum(times_s + length_s, near_s[1]) - np.maximum(times_s, near_s[0])
        fits &= shared >= shared[fits].max() - SAME_TIME_S
    starts = np.flatnonzero(fits & seen) if (fits & seen).any() else np.flatnonzero(fits)
    if not len(starts):
        return None
    worth = []
    for start in starts:
        inside = within(times_s, times_s[start], length_s)
        worth.append(round(_spread_deg(angles_deg[inside]) * float(seen[inside].mean()), 2))
    return float(times_s[starts[int(np.argmax(worth))]])


def within(times_s: Times, start_s: float, length_s: float) -> NDArray[np.bool_]:
    """Which of the times lie in a window."""
    return (times_s >= start_s - SAME_TIME_S) & (times_s <= start_s + length_s + SAME_TIME_S)


def clip_windows(faces: pl.DataFrame, frames: pl.DataFrame, length_s: float) -> pl.DataFrame:
    """`clip_id` and `WINDOW_COLUMNS` of the clips that are longer than a window.

    Args:
        faces: `clip_id`, `frame_index`, `face_index` and angles of `face_info`; the main face of a frame is its largest.
        frames: `clip_id`, `frame_index` and `time_s` of `face_frames`.
    """
    angles = [f"{angle}_deg" for angle in ANGLES]
    main = faces.filter(pl.col("face_index") == 0).select("clip_id", "frame_index", *angles, seen=pl.lit(True))
    places = frames.select("clip_id", "frame_index", "time_s").join(main, on=["clip_id", "frame_index"], how="left")
    rows = []
    for (clip_id,), clip in places.sort("clip_id", "time_s").group_by("clip_id", maintain_order=True):
        seen, poses = clip["seen"].fill_null(False).to_numpy(), clip.select(angles).cast(pl.Float64).to_numpy()
        start_s = window_start_s(clip["time_s"].to_numpy(), seen, poses, length_s)
        if start_s is not None:
            rows.append((clip_id, start_s, start_s + length_s))
    return pl.DataFrame(rows, {"clip_id": pl.String} | dict.fromkeys(WINDOW_COLUMNS, pl.Float64), orient="row")


def _spread_deg(angles_deg: NDArray[np.float64]) -> float:
    """Largest rotation between two of (N, 3) poses; 0 where there are no two."""
    known = angles_deg[np.isfinite(angles_deg).all(axis=1)].astype(np.float32)
    return float(spreads_deg(*known.T[:, None])[0]) if len(known) > 1 else 0.0
