"""One clip, surveyed: every sampled frame through the face engine.

Belongs here: clip -> rows of `face_info`, `face_frames` and one row of `face_clips`, as values.
Not here: processes and deadlines (`workers`), thresholds on the scores (`constraints`, `identity`).
"""

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from lafid_assets.faces.sampling import SampledFrame, frames_to_expect, sample_frames
from lafid_assets.ingest.media_probe import resolve
from lafid_assets.outcomes import ClipError, Reason, Status
from model.face_engine.interface import Face, FaceEngine
from resources.face_engine import load_face_engine

SHARPNESS_SIDE_PX = 112
LEAST_DECODED_SHARE = 0.5
BT601 = np.array([0.299, 0.587, 0.114], np.float32)


class SurveySettings(BaseModel):
    """What decides the content of the face tables: changing any of it analyses the clips again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: str = Field("auto", description="Face engine: auto, dlib")
    rate_hz: float = Field(4.0, gt=0, le=60, description="Frames looked at per second of clip")
    max_frames: int = Field(120, ge=1, description="Frames looked at per clip at most")


@dataclass(frozen=True)
class SurveyTask:
    """One clip to survey. Plain values: it crosses a process border."""

    clip_id: str
    shard: str
    clip_root: Path
    path: str
    duration_s: float | None
    settings: SurveySettings


@dataclass(frozen=True)
class SurveyedClip:
    """What the survey of one clip gave: rows, and how it ended."""

    status: Status
    reason: Reason | None
    detail: str | None
    frames_asked: int | None
    frames: list[dict[str, Any]] = field(default_factory=list)
    faces: list[dict[str, Any]] = field(default_factory=list)


def survey_clip(task: SurveyTask) -> SurveyedClip:
    """Decode, detect, measure. Faults of the clip come back as its status; a clip that stops decoding keeps what it gave."""
    engine = _engine(task.settings.engine)
    made_by = {
        "engine": engine.info.name,
        "engine_version": engine.info.version,
        "engine_licence": engine.info.licence,
    }
    expected = frames_to_expect(task.duration_s, task.settings.rate_hz, task.settings.max_frames)
    frames: list[dict[str, Any]] = []
    faces: list[dict[str, Any]] = []
    fault: ClipError | None = None
    try:
        for sample in sample_frames(_file(task), task.settings.rate_hz, task.settings.max_frames):
            found = engine.detect(sample.image_rgb)
            frames.append(_frame_row(task, sample, len(found)) | made_by)
            faces += [_face_row(task, sample, index, face) | made_by for index, face in enumerate(found)]
    except ClipError as error:
        fault = error
    if fault is None and (not frames or (expected and len(frames) < LEAST_DECODED_SHARE * expected)):
        fault = ClipError(
            Reason.DECODE_FAILED, f"{len(frames)} of about {expected} frames could be decoded: the file is cut short"
        )
    if fault is not None:
        return SurveyedClip(Status.ERROR, fault.reason, fault.detail, expected, frames, faces)
    return SurveyedClip(Status.OK, None, None, expected, frames, faces)


def sharpness(image_rgb: NDArray[np.uint8], box: tuple[float, float, float, float]) -> float | None:
    """Variance of the 4-neighbour Laplacian of the luma inside `box`, resized to 112 px, so that large faces do not win by size.

    Returns:
        None when the box lies outside the image.
    """
    from PIL import Image

    height, width = image_rgb.shape[:2]
    x1, y1, x2, y2 = (round(v) for v in box)
    crop = image_rgb[max(y1, 0) : max(min(y2, height), 0), max(x1, 0) : max(min(x2, width), 0)]
    if min(crop.shape[:2]) < 2:
        return None
    side = (SHARPNESS_SIDE_PX, SHARPNESS_SIDE_PX)
    luma = np.asarray(Image.fromarray(crop).convert("L").resize(side, Image.Resampling.BOX), np.float32)
    laplacian = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * luma[1:-1, 1:-1]
    return float(laplacian.var())


@lru_cache(maxsize=1)
def _engine(name: str) -> FaceEngine:
    return load_face_engine(name)


def _file(task: SurveyTask) -> Path:
    path = resolve(task.clip_root, task.path)
    if path is None:
        raise ClipError(Reason.UNREADABLE, "the file has disappeared since it was probed: materialize raw_clips again")
    return path


def _frame_row(task: SurveyTask, sample: SampledFrame, face_count: int) -> dict[str, Any]:
    height, width = sample.image_rgb.shape[:2]
    return {
        "clip_id": task.clip_id,
        "shard": task.shard,
        "frame_index": sample.frame_index,
        "pts": sample.pts,
        "time_base_num": sample.time_base.numerator,
        "time_base_den": sample.time_base.denominator,
        "time_s": sample.time_s,
        "width": width,
        "height": height,
        "face_count": face_count,
        "luminance": float((sample.image_rgb[::4, ::4] @ BT601).mean()),
    }


def _face_row(task: SurveyTask, sample: SampledFrame, index: int, face: Face) -> dict[str, Any]:
    angles = face.angles
    height, width = sample.image_rgb.shape[:2]
    x1, y1, x2, y2 = face.box_xyxy_px
    return {
        "clip_id": task.clip_id,
        "shard": task.shard,
        "frame_index": sample.frame_index,
        "pts": sample.pts,
        "time_base_num": sample.time_base.numerator,
        "time_base_den": sample.time_base.denominator,
        "face_index": index,
        "box_x1": x1,
        "box_y1": y1,
        "box_x2": x2,
        "box_y2": y2,
        "score": face.score,
        "landmarks_px": face.landmarks_px.ravel().tolist(),
        "rotation": None if face.rotation is None else face.rotation.ravel().tolist(),
        "yaw_deg": angles and float(angles.yaw_deg),
        "pitch_deg": angles and float(angles.pitch_deg),
        "roll_deg": angles and float(angles.roll_deg),
        "embedding": None if face.embedding is None else face.embedding.tolist(),
        "sharpness": sharpness(sample.image_rgb, face.box_xyxy_px),
        "frame_share": max(x2 - x1, 0) * max(y2 - y1, 0) / (width * height),
        "mouth_opening": face.mouth_opening,
    }
