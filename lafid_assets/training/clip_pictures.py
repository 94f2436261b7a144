"""The pictures of one clip that encoders look at, out of its file, in a child process that may crash or hang with it.

Belongs here: what a child is told, decoding, cutting and cropping. Not here: which pictures are needed (`shard_plan`), encoding
them (`cache_parts`), children (`workers`). Loads no torch: every child pays for what it imports.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lafid_assets.faces.sampling import frames_at
from lafid_assets.ingest.locate import file_at
from lafid_assets.ingest.media_probe import content_sha256_in_state
from lafid_assets.outcomes import ClipError, Reason, Status
from lafid_assets.training.face_views import FaceView
from lafid_assets.workers.exit_reasons import Fault
from model.clip_size import Bucket
from model.encoding.footage import Footage, RemoteFile, file_of, footage_in
from model.encoding.head_mask import MaskInfo
from resources.face_engine import model_store
from resources.store.s3_objects import is_address

FILE_COLUMNS = (
    "clip_id",
    "clip_root",
    "path",
    "content_sha256",
    "dataset_version",
    "first_pts",
    "last_pts",
    "keyframe_pts",
    "start_s",
    "duration_s",
)
"""Columns of `lafid_dataset` that find the file and tell whether it is still the same."""

Need = Literal["frames", "crops"]
Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class PictureTask:
    """What a child is to look up of one clip.

    Attributes:
        file: `FILE_COLUMNS` of its row.
        start_s: where its window begins.
        centre_xy_px: what a cut keeps in view.
        views: whose heads are cropped.
    """

    file: dict[str, Any]
    bucket: Bucket
    fps: float
    start_s: float
    centre_xy_px: tuple[float, float]
    views: tuple[FaceView, ...]
    mask: MaskInfo
    needs: frozenset[Need]

    @property
    def object(self) -> RemoteFile | None:
        """The clip's file, where it lies on S3."""
        source = file_at(self.file) if is_address(self.file["clip_root"]) else None
        return source if isinstance(source, RemoteFile) else None


@dataclass(frozen=True, eq=False)
class Pictures:
    """RGB; what was not asked for is missing."""

    frames: Picture | None  # (T, H, W, 3)  at the bucket's size and rate
    crops: Sequence[Picture]  # (H, W, 3) each, of any sizes: head and shoulders of every view


def take_pictures(task: PictureTask) -> Pictures | Fault:
    """What the task asks for.

    Raises:
        MaskUnusable: the mask's network is not in the model store any more.
    """
    try:
        footage = _footage(task.file)
        frames = _frames(footage, task) if "frames" in task.needs else None
        return Pictures(frames, _crops(footage, task) if "crops" in task.needs else [])
    except ClipError as error:
        return Fault(Status.ERROR, error.reason, error.detail)


def _frames(footage: Footage, task: PictureTask) -> Picture:
    from model.encoding.video_io import VideoError, fit_frames, frame_times, read_frames

    try:
        shown = read_frames(footage, frame_times(task.bucket.frames, task.fps, task.start_s))
    except VideoError as error:
        raise ClipError(Reason.DECODE_FAILED, str(error)) from error
    return fit_frames(shown, task.bucket.height, task.bucket.width, task.centre_xy_px)


def _crops(footage: Footage, task: PictureTask) -> list[Picture]:
    """Cut as a user's photo is, by the mask that `reference_crops` used."""
    from model.encoding.face_processor import head_and_shoulders
    from model.encoding.head_mask import mask_of

    mask = mask_of(task.mask, model_store())
    frames = frames_at(footage, {view.frame_index for view in task.views})
    return [
        head_and_shoulders(
            frames[view.frame_index], view.box_xyxy_px, mask, np.array(view.landmarks_px, np.float32).reshape(-1, 2)
        )
        for view in task.views
    ]


def _footage(file: dict[str, Any]) -> Footage:
    source = file_at(file)
    if source is None:
        raise ClipError(Reason.UNREADABLE, f"{file['path']} has disappeared: put it back, or materialize raw_clips again")
    try:
        found = content_sha256_in_state(file_of(source))
    except OSError as error:
        raise ClipError(Reason.UNREADABLE, f"{file['path']} cannot be read: {error.strerror}") from error
    if found != file["content_sha256"]:
        version = file["dataset_version"]
        raise ClipError(
            Reason.UNREADABLE,
            f"{file['path']} has changed since dataset version {version}: put the file back, or materialize raw_clips again",
        )
    return footage_in(source, file)
