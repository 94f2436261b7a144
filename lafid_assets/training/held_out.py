"""Persons that a model never trains on, as clips that it draws.

Belongs here: which clips and why, and what each begins with. Not here: drawing (`model.training.held_out_videos`).
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lafid_assets.ingest.clip_prefetch import at_hand
from lafid_assets.ingest.locate import file_at
from lafid_assets.outcomes import ClipError, Reason, Status
from lafid_assets.training.balanced_choice import Candidate, take_turns
from lafid_assets.training.time_window import cut_centre_xy_px
from model.clip_size import Bucket, ClipSize
from model.encoding.footage import footage_in
from model.files import whole_file
from model.likeness import yaw_bin
from model.model_store.vision import named_vision
from model.release.drawing_settings import DrawingSettings
from resources.face_engine import model_store

LOGGER = logging.getLogger("lafid.training")
Row = Mapping[str, Any]


class HeldOut(NamedTuple):
    """One clip that is drawn.

    Attributes:
        bucket, start_s: its size, and where its window begins, as they are cached.
        centre_xy_px: around what training cuts it.
    """

    clip: Row
    bucket: Bucket
    start_s: float
    centre_xy_px: tuple[float, float]


def choose_held_out(dataset: pl.DataFrame, latents: pl.DataFrame, split: str, most: int, size: ClipSize) -> list[HeldOut]:
    """Clips of a split in the order of their choice: persons take turns, and the pose is taken that was taken least so far
    (`balanced_choice`); of equals comes first the smaller id. A clip counts as it was when it was cached, and one that is not
    cached is not drawn.

    Args:
        dataset: rows of `lafid_dataset`.
        latents: rows of `training_latents`.
        most: clips to choose; a smaller number gives the first of them.
        size: of the preset that they are cached for.
    """
    cached = latents.filter((pl.col("split") == split) & (pl.col("status") == Status.OK))
    places = {row["clip_id"]: row for row in cached.select("clip_id", "start_s", *Bucket._fields).iter_rows(named=True)}
    known = dataset.filter(pl.col("clip_id").is_in(cached["clip_id"].implode())).sort("identity_id", "clip_id")
    turned = pl.col("face_track").list.eval(pl.element().struct.field("yaw_deg").abs()).list.max()
    poses = known.select("clip_id", "identity_id", reached=turned.cast(pl.Float64)).iter_rows()
    candidates = [Candidate(clip_id, person, (yaw_bin(reached),)) for clip_id, person, reached in poses]
    chosen = []
    for clip_id, _ in take_turns(candidates, most):
        clip, place = known.row(by_predicate=pl.col("clip_id") == clip_id, named=True), places[clip_id]
        bucket = Bucket(*(place[name] for name in Bucket._fields))
        centre = cut_centre_xy_px(clip, place["start_s"], size.window_s(bucket))
        chosen.append(HeldOut(clip, bucket, place["start_s"], centre))
    if len(chosen) < most:
        LOGGER.warning("%d of %d videos are drawn: the %s split has no more clips that are cached", len(chosen), most, split)
    return chosen


def drawing_of(told: Mapping[str, Any], latents: pl.DataFrame) -> DrawingSettings:
    """How they are drawn: as an asset's config tells, with the vision encoder that the clips were cached with.

    Args:
        told: lines of `DrawingSettings`.
        latents: rows of `training_latents`.

    Raises:
        ValueError: a line is unknown, or its value impossible.
        ModelMissing: that encoder is not on this machine.
    """
    eyes = next((name for name in latents["semantic_encoder"] if name), None)
    semantic_dir = None if eyes is None else named_vision(model_store(), eyes)
    return DrawingSettings.of({"semantic_dir": semantic_dir} | dict(told))


def first_frame(clip: Row, start_s: float) -> NDArray[np.uint8]:
    """(H, W, 3): what the window of a row of `lafid_dataset` begins with, whole.

    Raises:
        ClipError: its file is not there any more, or cannot be read.
    """
    from model.encoding.video_io import VideoError, read_frames

    file = file_at(clip)
    if file is None:
        raise ClipError(Reason.UNREADABLE, f"{clip['path']} has disappeared: put it back, or materialize raw_clips again")
    footage = footage_in(file, clip)
    try:
        with at_hand(footage):
            return read_frames(footage, [start_s])[0]
    except (VideoError, OSError) as error:
        raise ClipError(Reason.UNREADABLE, f"{clip['path']} cannot be read: {error}") from error


def write_first_frame(clip: Row, start_s: float, folder: Path) -> Path:
    """The first frame as PNG in `folder`, named after the clip.

    Raises:
        ClipError: the clip's file is not there any more, or cannot be read.
    """
    from PIL import Image

    path = folder / f"{clip['clip_id']}.png"
    with whole_file(path) as temporary:
        Image.fromarray(first_frame(clip, start_s)).save(temporary)
    return path
