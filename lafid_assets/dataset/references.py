"""Reference faces of a clip: spread over poses, the sharpest of each.

Belongs here: face scores -> which frames serve as references. Not here: cutting them out (`training.training_latents`).
"""

import polars as pl

from lafid_assets.schemas.products import REFERENCE

YAW_BIN_DEG = 10.0
MOST_REFERENCES = 8
FIELDS = [field.name for field in REFERENCE.fields]


def choose_references(faces: pl.DataFrame) -> pl.DataFrame:
    """For every clip the sharpest main face of each yaw bin, at most eight, the most frontal first.

    Args:
        faces: rows of `face_info`.

    Returns:
        columns `clip_id` and `references` (list of `schemas.REFERENCE`).
    """
    posed = faces.filter((pl.col("face_index") == 0) & pl.col("yaw_deg").is_not_null() & pl.col("sharpness").is_not_null())
    best = (
        posed.with_columns(yaw_bin=(pl.col("yaw_deg") / YAW_BIN_DEG).round())
        .sort("clip_id", "yaw_bin", "sharpness", "frame_index", descending=[False, False, True, False])
        .unique(["clip_id", "yaw_bin"], keep="first", maintain_order=True)
        .sort("clip_id", pl.col("yaw_deg").abs(), "frame_index")
    )
    chosen = best.group_by("clip_id", maintain_order=True).head(MOST_REFERENCES)
    return chosen.select("clip_id", references=pl.struct(FIELDS).cast(REFERENCE)).group_by("clip_id").agg("references")
