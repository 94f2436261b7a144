"""Which face of a frame a clip is about.

Belongs here: rows of `faces` -> at most one of them a frame. Not here: judging these faces (`consistency`).
"""

import polars as pl

TAKES_OVER_SHARE = 0.5
"""Where the main track is absent, a face of at least this share of its usual area has taken over; smaller ones are bystanders."""


def leading_faces(faces: pl.DataFrame) -> pl.DataFrame:
    """The face of the main track, and where that is absent the largest face if it has taken over.

    The main track is the one that fills most of the picture over time. A tracker that tells persons apart ends a track where the
    person changes; looking at the main track alone would then never see the change. Clips without tracks: the largest face.

    Args:
        faces: rows of `faces`.

    Returns:
        rows of `faces` in the order of their frames, at most one a frame.
    """
    tracks = (
        faces.filter(pl.col("track_id").is_not_null())
        .group_by("clip_id", "track_id")
        .agg(filled=pl.col("frame_share").sum(), usual=pl.col("frame_share").median())
        .sort("clip_id", pl.col("filled") * -1, "track_id")
        .unique("clip_id", keep="first", maintain_order=True)
        .select("clip_id", main_track="track_id", usual="usual")
    )
    is_main = (pl.col("track_id") == pl.col("main_track")).fill_null(False)
    has_taken_over = (pl.col("frame_share") >= TAKES_OVER_SHARE * pl.col("usual")).fill_null(pl.col("face_index") == 0)
    return (
        faces.join(tracks, on="clip_id", how="left")
        .filter(is_main | has_taken_over)
        .sort("clip_id", "frame_index", ~is_main, "face_index")
        .unique(["clip_id", "frame_index"], keep="first", maintain_order=True)
        .drop("main_track", "usual")
    )
