"""One task of an evaluation, done in a child process: a held-out clip drawn and measured, or the flow loss of a split.

Belongs here: the tasks, doing them, and what is kept in the store so that nothing is done twice. Not here: which clips
(`training.held_out`), the processes, and what becomes of the measures (`evaluation`).
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from lafid_assets.outcomes import ClipError, Reason, Status
from lafid_assets.training.held_out import HeldOut, first_frame
from model.bases.specs import FIRST_FRAME_LAYOUTS
from model.files import whole_file
from model.likeness import MeasuredVideo
from model.release.drawing_settings import DrawingSettings

if TYPE_CHECKING:
    from model.release.pipeline import LafidPipeline

FOLDER = "evaluations"
"""In the store: a folder for each checkpoint and way of drawing, in it a video and a file of measures for each clip."""
_VERSION = 1
"""Raise it when the same clip is to be drawn or measured otherwise."""


@dataclass(frozen=True)
class Measured:
    """What is measured, and how it draws.

    Attributes:
        store: the root of the local store.
        clip_list: the cached clips.
    """

    checkpoint_sha256: str
    checkpoint_path: str
    base_path: str
    store: Path
    clip_list: Path
    drawing: DrawingSettings

    @property
    def folder(self) -> str:
        """Of what is kept, in the store."""
        settings = self.drawing.model_dump(mode="json", exclude={"device", "semantic_dir"})
        return f"{FOLDER}/{self.checkpoint_sha256[:16]}-{_digest(settings)[:8]}"


@dataclass(frozen=True)
class LossTask:
    """The flow loss on a split's cached clips."""

    split: str

    @property
    def name(self) -> str:
        return f"flow_loss_{self.split}"

    def key(self, measured: Measured) -> str:
        """Over all that decides the result, beside checkpoint and drawing."""
        return _digest([_VERSION, measured.clip_list.name, self.split])


@dataclass(frozen=True)
class VideoTask:
    """A clip to draw and to measure."""

    held_out: HeldOut

    @property
    def name(self) -> str:
        return str(self.held_out.clip["clip_id"])

    def key(self, measured: Measured) -> str:
        """The same."""
        one, clip = self.held_out, self.held_out.clip
        window = [*one.bucket, one.start_s, *one.centre_xy_px]
        known = ("content_sha256", "first_pts", "last_pts", "refined_caption", "identity_embedding", "engine", "engine_version")
        return _digest([_VERSION, window, [clip[name] for name in known]])


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    key: str


class Loss(_Kept):
    """Of a `LossTask`."""

    value: float


class Drawn(_Kept):
    """Of a `VideoTask`; without a video where the clip allowed none."""

    video: MeasuredVideo | None = None
    first_frame_psnr_db: float | None = None
    status: Status = Status.OK
    reason: Reason | None = None
    detail: str | None = None


Kept = TypeVar("Kept", Loss, Drawn)


def kept(measured: Measured, task: LossTask | VideoTask) -> Loss | Drawn | None:
    """What an earlier run has made of the task; None: it is still to be done."""
    if isinstance(task, LossTask):
        return _read(Loss, measured, task)
    found = _read(Drawn, measured, task)
    return found if found is None or found.video is None or video_path(measured, task).is_file() else None


def do(measured: Measured, task: LossTask | VideoTask) -> Loss | Drawn:
    """Does a task and keeps the result; the model is loaded once for all tasks of a process. A clip's fault is its result, and
    what another try may mend is not kept.
    """
    result = _flow_loss(measured, task) if isinstance(task, LossTask) else _draw(measured, task)
    if not (isinstance(result, Drawn) and result.status == Status.ERROR):
        with whole_file(_measures_path(measured, task)) as temporary:
            temporary.write_text(result.model_dump_json())
    return result


def video_path(measured: Measured, task: VideoTask) -> Path:
    """The mp4 of a clip that was drawn."""
    return measured.store / measured.folder / f"{task.name}.mp4"


def _flow_loss(measured: Measured, task: LossTask) -> Loss:
    from model.clips.clip_list import DataError
    from model.clips.clip_set import ClipSet
    from model.training.metrics import fixed_flow_loss

    pipeline = _pipeline(measured)
    clips = ClipSet(measured.clip_list, task.split)
    if clips.meta.encoders_fingerprint != pipeline.manifest.encoders_fingerprint:
        raise DataError(
            f"the clips are precomputed with other encoders than the checkpoint was trained on: run `lafid precompute --preset "
            f"{pipeline.manifest.preset.name}`, or train anew"
        )
    with pipeline.in_place() as model:
        return Loss(key=task.key(measured), value=fixed_flow_loss(model, clips, pipeline.manifest.preset))


def _draw(measured: Measured, task: VideoTask) -> Drawn:
    import numpy as np

    from model.encoding.face_processor import FaceError, PoseUnknown
    from model.encoding.video_io import read_frames, write_mp4
    from model.training.held_out_videos import Beginning, draw_held_out, measure_held_out
    from model.training.metrics import psnr

    pipeline, one, key = _pipeline(measured), task.held_out, task.key(measured)
    try:
        beginning = Beginning.of(first_frame(one.clip, one.start_s), one.bucket, one.centre_xy_px)
        frames = draw_held_out(pipeline, beginning, one.clip["refined_caption"] or "")
    except ClipError as error:
        return Drawn(key=key, status=Status.ERROR, reason=error.reason, detail=error.detail)
    except FaceError as error:
        reason = Reason.POSE_UNKNOWN if isinstance(error, PoseUnknown) else Reason.NO_FACE
        return Drawn(key=key, status=Status.REJECTED, reason=reason, detail=f"its first frame cannot condition a video: {error}")
    path, fidelity = video_path(measured, task), None
    write_mp4(path, frames, pipeline.fps)
    if pipeline.manifest.base.layout in FIRST_FRAME_LAYOUTS:
        fidelity = psnr(read_frames(path, [0.0])[0], beginning.cut)
    reference = np.asarray(one.clip["identity_embedding"], np.float32)
    video = measure_held_out(pipeline, frames, beginning, reference)
    return Drawn(key=key, video=video, first_frame_psnr_db=fidelity)


@cache
def _pipeline(measured: Measured) -> "LafidPipeline":
    from model.release.pipeline import load

    return load(measured.store / measured.checkpoint_path, measured.store / measured.base_path, measured.drawing)


def _measures_path(measured: Measured, task: LossTask | VideoTask) -> Path:
    return measured.store / measured.folder / f"{task.name}.json"


def _read(kind: type[Kept], measured: Measured, task: LossTask | VideoTask) -> Kept | None:
    try:
        found = kind.model_validate_json(_measures_path(measured, task).read_bytes())
    except (FileNotFoundError, ValidationError):  # never done, or by another version
        return None
    return found if found.key == task.key(measured) else None


def _digest(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
