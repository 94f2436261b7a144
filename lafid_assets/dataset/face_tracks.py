"""Where the main face of a clip is and how it is turned, moment by moment.

Belongs here: the face tables -> one list a clip. Not here: which face is the main one (`references`), what training makes of the
places (`model.encoding.face_boxes`).
"""

import polars as pl

from lafid_assets.dataset.references import main_faces
from lafid_assets.schemas.products import FACE_PLACE

BOX = ("box_x1", "box_y1", "box_x2", "box_y2")
ANGLES = ("yaw_deg", "pitch_deg", "roll_deg")
FACE_COLUMNS = ("clip_id", "frame_index", "face_index", "track_id", *BOX, *ANGLES)
FRAME_COLUMNS = ("clip_id", "frame_index", "time_s", "width", "height")
"""What is read of `face_info` and `face_frames`."""


def face_tracks(faces: pl.DataFrame, frames: pl.DataFrame) -> pl.DataFrame:
    """`clip_id`, `width`, `height` and `face_track` of every clip with an analysed frame.

    Args:
        faces: rows of `face_info`, of which `FACE_COLUMNS` are read.
        frames: rows of `face_frames`, of which `FRAME_COLUMNS` are read.
    """
    largest = main_faces(faces.select(FACE_COLUMNS)).sort("clip_id", "frame_index", "face_index")
    places = largest.unique(["clip_id", "frame_index"], keep="first").select(
        "clip_id", "frame_index", "face_index", *BOX, *ANGLES
    )
    place = pl.struct("time_s", "frame_index", "face_index", *BOX, *ANGLES).cast(FACE_PLACE)
    listed = (
        frames.select(FRAME_COLUMNS)
        .join(places, on=["clip_id", "frame_index"], how="left")
        .sort("clip_id", "frame_index")
        .select("clip_id", "width", "height", place=place)
    )
    return listed.group_by("clip_id", maintain_order=True).agg(
        pl.col("width").first(), pl.col("height").first(), face_track=pl.col("place")
    )
