"""Persons that a model never trains on, as pictures that it begins a video with.

Belongs here: which clips, and their first frames. Not here: drawing (`model.training.held_out_videos`).
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lafid_assets.ingest.media_probe import resolve
from lafid_assets.outcomes import ClipError, Reason, Status
from lafid_assets.training.time_window import window_start_s
from model.encoding.footage import footage_in
from model.files import whole_file
from model.presets import ClipSize

LOGGER = logging.getLogger("lafid.training")


def first_frame(clip: dict[str, Any], size: ClipSize) -> NDArray[np.uint8]:
    """(H, W, 3): what the window of a row of `lafid_dataset` begins with.

    Raises:
        ClipError: its file is not there any more, or cannot be read.
    """
    from model.encoding.video_io import VideoError, read_frames

    path = resolve(Path(clip["clip_root"]), clip["path"])
    if path is None:
        raise ClipError(Reason.UNREADABLE, f"{clip['path']} has disappeared: put it back, or materialize raw_clips again")
    try:
        return read_frames(footage_in(path, clip), [window_start_s(clip, size)])[0]
    except (VideoError, OSError) as error:
        raise ClipError(Reason.UNREADABLE, f"{clip['path']} cannot be read: {error}") from error


def choose_held_out(dataset: pl.DataFrame, latents: pl.DataFrame, persons: int) -> pl.DataFrame:
    """The first clip of each of the first `persons` of the validation split, as many as have one that is cached.

    Args:
        dataset: rows of `lafid_dataset`.
        latents: rows of `training_latents`, which hold whom a video shall show.
    """
    cached = latents.filter((pl.col("split") == "validation") & (pl.col("status") == Status.OK))
    held_out = dataset.filter(pl.col("clip_id").is_in(cached["clip_id"].implode())).sort("identity_id", "clip_id")
    chosen = held_out.unique("identity_id", keep="first", maintain_order=True).head(persons)
    if chosen.height < persons:
        LOGGER.warning("%d of %d videos are drawn: the validation split has no more persons", chosen.height, persons)
    return chosen


def write_first_frame(clip: dict[str, Any], size: ClipSize, folder: Path) -> Path:
    """The first frame as PNG in `folder`, named after the clip.

    Raises:
        ClipError: the clip's file is not there any more, or cannot be read.
    """
    from PIL import Image

    path = folder / f"{clip['clip_id']}.png"
    with whole_file(path) as temporary:
        Image.fromarray(first_frame(clip, size)).save(temporary)
    return path
