"""The window of a clip: the seconds that hold its turn, as long as what a model is trained on.

Belongs here: places and poses of the main face over time -> where a window begins. Not here: which clips are kept (`decision`),
how long a training clip of some preset is (`model.clip_size`).

Latents, captions, references and who speaks are all of these seconds: a caption that tells of a wave of the hand eight seconds
before the first frame that is trained on teaches something false.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lafid_assets.constraints.measures import ANGLES
from model.face_engine.rotations import quaternions_from_angles

SAME_TIME_S = 1e-6
PAIRS_AT_A_TIME = 1 << 22
WINDOW_COLUMNS = ("window_start_s", "window_end_s")
"""Of `pose_filtered_clips` and what follows from it; NULL: the whole clip."""

Times = NDArray[np.float64]
Seconds = tuple[float, float]


def window_starts_s(
    times_s: Times, seen: NDArray[np.bool_], angles_deg: NDArray[np.float64], length_s: float, near_s: Seconds | None = None
) -> Times:
    """Where each clip's window begins, one of its `times_s`; NaN where these do not span it.

    A window begins at an analysed frame and ends at another one or before, so that every frame of it exists. Of the windows that
    begin with a face, where there are any, it is the one with the largest rotation between two of its poses, times the share of
    its analysed frames that show the face; of equal ones the earliest.

    Args:
        times_s: (clips, N) of the analysed frames, rising.
        seen: (clips, N) whether a frame shows the face.
        angles_deg: (clips, N, 3) yaw, pitch and roll; NaN where the pose is not known.
        near_s: from when to when it should be: only windows that share as much with it as any can come into question.

    Returns:
        (clips,) seconds.
    """
    if not times_s.shape[1]:
        return np.full(len(times_s), np.nan)
    fits = times_s + length_s <= times_s[:, -1:] + SAME_TIME_S
    if near_s is not None:
        shared = np.minimum(times_s + length_s, near_s[1]) - np.maximum(times_s, near_s[0])
        most = np.where(fits, shared, -np.inf).max(axis=1, keepdims=True)
        fits &= shared >= most - SAME_TIME_S
    fits &= seen | ~(fits & seen).any(axis=1, keepdims=True)
    ends = (times_s[:, None, :] <= times_s[:, :, None] + length_s + SAME_TIME_S).sum(axis=2) - 1  # (clips, N), inclusive
    clips, starts = np.arange(len(times_s))[:, None], np.arange(times_s.shape[1])[None]
    seen_before = np.pad(seen.cumsum(axis=1), ((0, 0), (1, 0)))
    share = (seen_before[clips, ends + 1] - seen_before[clips, starts]) / (ends + 1 - starts)
    worth = np.where(fits, np.round(_spreads_deg(angles_deg, ends) * share, 1), -1.0)  # finer is noise
    best = worth.argmax(axis=1)
    return np.where(fits.any(axis=1), times_s[clips[:, 0], best], np.nan)


def within(times_s: Times, start_s: float, length_s: float) -> NDArray[np.bool_]:
    """Which of the times lie in a window."""
    return (times_s >= start_s - SAME_TIME_S) & (times_s <= start_s + length_s + SAME_TIME_S)


def clip_windows(clips: pl.DataFrame, faces: pl.DataFrame, frames: pl.DataFrame, length_s: float) -> pl.DataFrame:
    """`clip_id` and `WINDOW_COLUMNS` of the clips that are longer than a window.

    Args:
        clips: `clip_id` of the clips that are asked about.
        faces: `clip_id`, `frame_index`, `face_index` and angles of `face_info`; the main face of a frame is its largest.
        frames: `clip_id`, `frame_index` and `time_s` of `face_frames`.
    """
    angles = [f"{angle}_deg" for angle in ANGLES]
    numbered = clips.select("clip_id").with_row_index("clip")  # numbers are compared and sorted in less time than ids
    main, looked_at = (
        rows.join(numbered, on="clip_id").select("clip", "frame_index", *columns)
        for rows, columns in (
            (faces.filter(pl.col("face_index") == 0), [*angles, pl.lit(True).alias("seen")]),
            (frames, ["time_s"]),
        )
    )
    long = pl.col("time_s").max() - pl.col("time_s").min() >= length_s - SAME_TIME_S
    places = (
        looked_at.join(main, on=["clip", "frame_index"], how="left")
        .sort("clip", "time_s")
        .group_by("clip", maintain_order=True)
        .agg(
            pl.len().alias("frames"),
            "time_s",
            pl.col("seen").fill_null(False),
            *(pl.col(angle).cast(pl.Float64).fill_null(np.nan) for angle in angles),
            long=long,
        )
        .filter("long")
    )
    found = [pl.DataFrame(schema={"clip": pl.UInt32} | dict.fromkeys(WINDOW_COLUMNS, pl.Float64))]
    for (count,), alike in places.partition_by("frames", as_dict=True).items():
        for part in alike.iter_slices(max(1, PAIRS_AT_A_TIME // count**2)):
            times_s, seen, *sides = (part[name].list.to_array(count).to_numpy() for name in ("time_s", "seen", *angles))
            starts_s = window_starts_s(times_s, seen, np.stack(sides, axis=-1), length_s)
            found.append(part.select("clip", window_start_s=starts_s, window_end_s=starts_s + length_s))
    return pl.concat(found).join(numbered, on="clip").select("clip_id", *WINDOW_COLUMNS).sort("clip_id")


def _spreads_deg(angles_deg: NDArray[np.float64], ends: NDArray[np.int64]) -> NDArray[np.float64]:
    """Largest rotation between two known poses from frame i to frame `ends[:, i]`, (clips, N); 0 where there are no two."""
    known = np.asarray(np.isfinite(angles_deg).all(axis=2))
    poses = quaternions_from_angles(*np.where(known[..., None], angles_deg, 0.0).astype(np.float32).transpose(2, 0, 1))
    alike = np.abs(np.matmul(poses, poses.transpose(0, 2, 1)))  # |cos| of half the angle between
    alike[~(known[:, :, None] & known[:, None, :])] = 1.0
    least = alike.diagonal(0, 1, 2)
    found, gaps = least.copy(), ends - np.arange(alike.shape[1])
    for gap in range(1, gaps.max(initial=0) + 1):
        least = np.minimum.reduce([alike.diagonal(gap, 1, 2), least[:, :-1], least[:, 1:]])  # from i to i + gap
        found[:, :-gap] = np.where(gaps[:, :-gap] == gap, least, found[:, :-gap])
    return np.asarray(np.rad2deg(2 * np.arccos(np.minimum(found, 1.0))), np.float64)
