"""Measures of a clip's main face from the per-face scores: one pass over the rows, no join below the clip.

Belongs here: scores -> one row of measures a clip. Not here: thresholds (`policies`), the decision (`decision`).
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lafid_assets.constraints.policies import FacePolicy
from model.face_engine.rotations import quaternions_from_angles

ANGLES = ("yaw", "pitch", "roll")
FACE_COLUMNS = (
    "clip_id",
    "frame_index",
    "face_index",
    "head_height_px",
    "frame_share",
    "sharpness",
    *(f"{angle}_deg" for angle in ANGLES),
)
"""What the decision reads of `face_info`; landmarks and embeddings, nine tenths of the table, stay on disk."""
FRAME_COLUMNS = ("clip_id", "frame_index", "time_s", "face_count", "width", "height")

POSES_AT_A_TIME = 1 << 16


def measure_clips(faces: pl.DataFrame, frames: pl.DataFrame, policy: FacePolicy) -> pl.DataFrame:
    """One row a clip that has sampled frames, with the measure columns of `pose_filtered_clips`.

    The main face of a frame is its largest. A clip's frames are taken to have one size, that of the first.

    Args:
        faces: rows of `face_info`, of which `FACE_COLUMNS` are read.
        frames: rows of `face_frames`, of which `FRAME_COLUMNS` are read.
    """
    by_frame = (
        _by_clip(_numbered(frames.select(FRAME_COLUMNS), ["clip_id", "frame_index"]))
        .agg(
            pl.col("clip_id").first(),
            frames=pl.len().cast(pl.Int32),
            faces_in_frame=pl.col("face_count").max().cast(pl.Int32),
            faced_frames=(pl.col("face_count") > 0).sum(),
            width=pl.col("width").first(),
            height=pl.col("height").first(),
        )
        .drop("run")
    )
    by_face = _measure_faces(_numbered(faces.select(FACE_COLUMNS), ["clip_id", "frame_index", "face_index"]), policy)
    return (
        by_frame.join(by_face, on="clip_id", how="left")
        .with_columns(
            face_frame_share=pl.col("faced_frames") / pl.col("frames"),
            several_faces_share=pl.col("several_faces").fill_null(0) / pl.col("frames"),
            face_height_share=pl.col("head_height_px") / pl.min_horizontal("width", "height"),
            posed_share=pl.col("posed_frames") / pl.col("faced_frames"),
        )
        .drop("several_faces", "head_height_px", "faced_frames", "width", "height")
    )


def spreads_deg(
    yaw_deg: NDArray[np.float32], pitch_deg: NDArray[np.float32], roll_deg: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Largest geodesic angle between any two poses of each clip.

    Args:
        yaw_deg, pitch_deg, roll_deg: (clips, poses) each.

    Returns:
        (clips,) degrees in [0, 180].
    """
    poses = quaternions_from_angles(yaw_deg, pitch_deg, roll_deg)
    alike = np.abs(np.matmul(poses, poses.transpose(0, 2, 1)))  # (clips, poses, poses): |cos| of half the angle between
    first, second = np.divmod(alike.reshape(len(poses), -1).argmin(axis=1), poses.shape[1])
    clips = np.arange(len(poses))
    a, b = poses[clips, first].astype(np.float64), poses[clips, second].astype(np.float64)
    # q and -q are one rotation; the chord stays exact where poses hardly differ, which the arccos does not.
    chord = np.minimum(np.linalg.norm(a - b, axis=-1), np.linalg.norm(a + b, axis=-1))
    return np.asarray(np.rad2deg(4 * np.arcsin(np.clip(chord / 2, 0, 1))))


def frames_with_several(faces: pl.DataFrame, policy: FacePolicy) -> pl.DataFrame:
    """`clip_id` and `several_faces`: in how many frames a second face counts beside the largest.

    Args:
        faces: `clip_id`, `frame_index`, `face_index` and `frame_share`; the faces of a frame stand from the largest down.
    """
    return _several(_numbered(faces, ["clip_id", "frame_index", "face_index"]), policy)


def _several(faces: pl.DataFrame, policy: FacePolicy) -> pl.DataFrame:
    # The row before a second face is the face that it is compared with.
    second = (pl.col("face_index") == 1) & (pl.col("frame_share") >= policy.prominent_area_ratio * pl.col("frame_share").shift(1))
    counted = _by_clip(faces.select("clip_id", "run", second=second)).agg(
        pl.col("clip_id").first(), several_faces=pl.col("second").sum().cast(pl.Int64)
    )
    return counted.drop("run")


def pose_ranges(main: pl.DataFrame, policy: FacePolicy) -> pl.DataFrame:
    """`clip_id`, the three robust ranges and their sum `pose_variation_deg`.

    Args:
        main: `clip_id` and the angles of the main faces.
    """
    ranges = _by_clip(_numbered(main, ["clip_id"])).agg(pl.col("clip_id").first(), **_ranges(policy))
    return ranges.drop("run").with_columns(pose_variation_deg=_POSE_VARIATION)


_POSE_VARIATION = pl.sum_horizontal(*(f"{angle}_range_deg" for angle in ANGLES), ignore_nulls=False)


def _ranges(policy: FacePolicy) -> dict[str, pl.Expr]:
    low, high = policy.range_percentile / 100, 1 - policy.range_percentile / 100
    return {f"{angle}_range_deg": (_quantile(angle, high) - _quantile(angle, low)).cast(pl.Float64) for angle in ANGLES}


def _measure_faces(faces: pl.DataFrame, policy: FacePolicy) -> pl.DataFrame:
    main = faces.filter(pl.col("face_index") == 0)
    measured = _by_clip(main).agg(
        pl.col("clip_id").first(),
        head_height_px=pl.col("head_height_px").median().cast(pl.Float64),
        sharpness=pl.col("sharpness").median().cast(pl.Float64),
        posed_frames=pl.col("yaw_deg").is_not_null().sum().cast(pl.Int32),
        **_ranges(policy),
    )
    return (
        _several(faces, policy)
        .join(measured.drop("run"), on="clip_id", how="left")
        .join(_measure_spread(main), on="clip_id", how="left")
        .with_columns(pose_variation_deg=_POSE_VARIATION)
    )


def _measure_spread(main: pl.DataFrame) -> pl.DataFrame:
    """`clip_id` and `pose_spread_deg` of the clips that have a pose; clips with equally many poses are computed together."""
    posed = main.select("clip_id", "run", *(f"{angle}_deg" for angle in ANGLES)).drop_nulls()
    counted = _by_clip(posed).agg(pl.col("clip_id").first(), poses=pl.len())
    poses = counted["poses"].to_numpy().astype(np.int64)
    starts = np.cumsum(poses) - poses
    columns = [posed[f"{angle}_deg"].to_numpy() for angle in ANGLES]
    spread = np.empty(len(poses))
    for size in np.unique(poses):
        clips = np.flatnonzero(poses == size)
        step = max(1, POSES_AT_A_TIME // int(size))
        for chunk in (clips[at : at + step] for at in range(0, len(clips), step)):
            rows = starts[chunk][:, None] + np.arange(size)
            spread[chunk] = spreads_deg(*(column[rows] for column in columns))
    return counted.select("clip_id", pose_spread_deg=pl.Series(spread, dtype=pl.Float64))


def _quantile(angle: str, share: float) -> pl.Expr:
    return pl.col(f"{angle}_deg").quantile(share, interpolation="linear")


def _in_order(rows: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    """The rows with each clip's together, in the order of the rest of `key`; finding that they are costs a tenth of sorting."""
    same_clip = (pl.col("clip_id") == pl.col("clip_id").shift(1)).fill_null(False)
    ascending = pl.lit(len(key) == 1)
    for column in reversed(key[1:]):
        before = pl.col(column).shift(1)
        ascending = (pl.col(column) > before) | ((pl.col(column) == before) & ascending)
    begins_once = ~pl.col("clip_id").filter(~same_clip).is_duplicated().any()
    in_order = rows.select((ascending | ~same_clip).fill_null(True).all() & begins_once).item()
    return rows if in_order else rows.sort(key)


def _numbered(rows: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    """The rows in order, with `run`, the number of their clip: comparing neighbours is cheaper than hashing ids."""
    return _in_order(rows, key).with_columns(run=pl.col("clip_id").rle_id())


def _by_clip(rows: pl.DataFrame) -> "pl.dataframe.group_by.GroupBy":
    return rows.group_by("run", maintain_order=True)
