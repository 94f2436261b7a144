"""Measures of a clip's main face from the per-face scores.

Belongs here: scores -> one row of measures a clip. Not here: thresholds (`policies`), the decision (`decision`).
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lafid_assets.constraints.policies import FacePolicy
from model.face_engine.rotations import geodesic_deg

MAIN_FACE = pl.col("face_index") == 0


def measure_clips(faces: pl.DataFrame, frames: pl.DataFrame, policy: FacePolicy) -> pl.DataFrame:
    """One row a clip that has sampled frames, with the measure columns of `pose_filtered_clips`.

    Args:
        faces: rows of `face_info`; the main face of a frame is its largest.
        frames: rows of `face_frames`.
    """
    by_frame = faces.group_by("clip_id", "frame_index").agg(
        prominent=(pl.col("frame_share") >= policy.prominent_area_ratio * pl.col("frame_share").max()).sum()
    )
    counts = (
        frames.join(by_frame, on=["clip_id", "frame_index"], how="left")
        .group_by("clip_id")
        .agg(
            frames=pl.len().cast(pl.Int32),
            face_frame_share=(pl.col("face_count") > 0).mean(),
            several_faces_share=(pl.col("prominent").fill_null(0) > 1).mean(),
        )
    )
    return counts.join(_main_face_measures(faces, frames, policy), on="clip_id", how="left")


def _main_face_measures(faces: pl.DataFrame, frames: pl.DataFrame, policy: FacePolicy) -> pl.DataFrame:
    low, high = policy.range_percentile / 100, 1 - policy.range_percentile / 100
    ranges = {f"{angle}_range_deg": _quantile(angle, high) - _quantile(angle, low) for angle in ("yaw", "pitch", "roll")}
    main = faces.filter(MAIN_FACE).join(frames.select("clip_id", "frame_index", "height"), on=["clip_id", "frame_index"])
    measured = main.group_by("clip_id").agg(
        face_height_share=((pl.col("box_y2") - pl.col("box_y1")) / pl.col("height")).median().cast(pl.Float64),
        sharpness=pl.col("sharpness").median().cast(pl.Float64),
        posed_frames=pl.col("yaw_deg").is_not_null().sum().cast(pl.Int32),
        **{name: expression.cast(pl.Float64) for name, expression in ranges.items()},
        rotations=pl.col("rotation").drop_nulls(),
    )
    spreads = [_spread_deg(rotations.to_list()) for rotations in measured["rotations"]]
    return measured.drop("rotations").with_columns(
        pose_variation_deg=pl.sum_horizontal(*ranges, ignore_nulls=False),
        pose_spread_deg=pl.Series(spreads, dtype=pl.Float64),
    )


def _quantile(angle: str, share: float) -> pl.Expr:
    return pl.col(f"{angle}_deg").quantile(share, interpolation="linear")


def _spread_deg(rotations: list[list[float]]) -> float | None:
    """Largest geodesic angle between any two poses of the clip."""
    if not rotations:
        return None
    stacked: NDArray[np.float64] = np.asarray(rotations, np.float64).reshape(-1, 3, 3)
    return float(np.max(geodesic_deg(stacked[:, None], stacked[None, :])))
