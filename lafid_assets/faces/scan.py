"""The cheap tier: a few looks at a small picture, to drop clips that no policy could keep.

Belongs here: looking, and the rows of what was seen. Not here: when a clip is hopeless (`scan_verdict`), which frames are
looked at (`looks`).
"""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lafid_assets.faces.looks import LookedAtFrame, look_into, plan_looks
from lafid_assets.faces.rows import BT601, FramePlace, face_row, frame_row, frame_share
from lafid_assets.faces.scan_verdict import LOOK_ON, Course, Look, judge
from lafid_assets.faces.settings import ScanMargins, family
from lafid_assets.ingest.packets import read_index
from lafid_assets.outcomes import ClipError, Reason
from model.face_engine.five_points import coarse_angles
from model.face_engine.interface import Face, FaceEngine

TIER = "scan"
THUMBNAIL_WIDTH, THUMBNAIL_HEIGHT = 32, 18
DEFAULT_SIDE_PX, DEFAULT_SURE_SCORE = 640, 0.0


@dataclass(frozen=True)
class ScannedClip:
    """What the scan says of a clip, and the rows of its looks without the engine's columns."""

    verdict: Reason | None
    frames_asked: int
    frames: list[dict[str, Any]] = field(default_factory=list)
    faces: list[dict[str, Any]] = field(default_factory=list)


def scan_clip(clip_id: str, shard: str, path: Path, margins: ScanMargins, engine: FaceEngine) -> ScannedClip:
    """Look until the clip is known to be hopeless or not. One that cannot be looked into is left to the survey, which
    says what is wrong with it."""
    looks: list[Look] = []
    verdict = LOOK_ON
    middle: LookedAtFrame | None = None
    scanned = ScannedClip(None, 0)
    try:
        index = read_index(path)
        planned = plan_looks(index, margins.scan_looks)
        scanned = ScannedClip(None, len(planned))
        for looked_at in look_into(path, index, planned):
            middle = looked_at if len(looks) <= len(planned) // 2 else middle
            looks.append(_look(clip_id, shard, looked_at, margins, engine, scanned))
            verdict = judge(looks, len(planned), margins)
            if verdict.course != Course.LOOK_ON:
                break
    except ClipError:
        return scanned
    if verdict.course != Course.DROP:
        return scanned
    if verdict.reason == Reason.NO_FACE and middle is not None and engine.detect(middle.shown.rgb(), embed=False):
        return scanned
    return replace(scanned, verdict=verdict.reason)


def _look(
    clip_id: str, shard: str, looked_at: LookedAtFrame, margins: ScanMargins, engine: FaceEngine, scanned: ScannedClip
) -> Look:
    """One look; its rows are added to `scanned`."""
    side_px = margins.scan_side_px.get(family(engine.info.name), DEFAULT_SIDE_PX)
    sure_score = margins.scan_sure_score.get(family(engine.info.name), DEFAULT_SURE_SCORE)
    image = looked_at.shown.rgb(side_px)
    width, height = looked_at.shown.size_px
    scale = np.array((width / image.shape[1], height / image.shape[0]))
    faces = [_enlarged(face, scale) for face in engine.glance(image, side_px=side_px)]
    place = FramePlace(
        clip_id,
        shard,
        TIER,
        looked_at.frame_index,
        looked_at.pts,
        looked_at.time_base,
        looked_at.time_s,
        width,
        height,
    )
    scores = tuple(face.score for face in faces if face.score is not None)
    scanned.frames.append(frame_row(place, image, len(faces)))
    scanned.faces.extend(face_row(place, number, face, None) for number, face in enumerate(faces))
    return Look(
        areas=tuple(frame_share(face, width, height) for face in faces),
        scores=scores,
        sure=max(scores, default=-math.inf) >= sure_score,
        height_share=(faces[0].box_xyxy_px[3] - faces[0].box_xyxy_px[1]) / height if faces else None,
        angles=coarse_angles(faces[0].landmarks_px) if faces else None,
        thumbnail=thumbnail(image),
    )


def thumbnail(image_rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(18, 32) float32: mean luma of every cell of the frame."""
    luma = image_rgb @ BT601
    rows = np.linspace(0, luma.shape[0], THUMBNAIL_HEIGHT + 1).round().astype(int)[:-1]
    columns = np.linspace(0, luma.shape[1], THUMBNAIL_WIDTH + 1).round().astype(int)[:-1]
    sums = np.add.reduceat(np.add.reduceat(luma, rows, axis=0), columns, axis=1)
    areas = np.outer(np.diff([*rows, luma.shape[0]]), np.diff([*columns, luma.shape[1]]))
    return np.asarray(sums / areas, np.float32)


def _enlarged(face: Face, scale_xy: NDArray[np.float64]) -> Face:
    """The face in pixels of the full-size frame."""
    x1, y1, x2, y2 = (float(edge) for edge in np.asarray(face.box_xyxy_px) * np.tile(scale_xy, 2))
    return replace(face, box_xyxy_px=(x1, y1, x2, y2), landmarks_px=np.asarray(face.landmarks_px * scale_xy, np.float32))
