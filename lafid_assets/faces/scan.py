"""The cheap tier: a few looks at a small picture, to drop clips that no policy could keep.

Belongs here: looking, and the rows of what was seen. Not here: when a clip is hopeless (`scan_verdict`), which frames are
looked at (`scan_frames`).
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lafid_assets.faces.rows import FramePlace, face_row, frame_row, frame_share
from lafid_assets.faces.scan_frames import LookedAtFrame, look_into, plan_looks
from lafid_assets.faces.scan_verdict import LOOK_ON, Course, Look, judge
from lafid_assets.faces.settings import ScanMargins, family
from lafid_assets.ingest.packets import FrameIndex, read_index
from lafid_assets.outcomes import ClipError, Reason
from lafid_assets.pictures.grey import thumbnail
from model.encoding.footage import Footage
from model.face_engine.five_points import coarse_angles, head_height_px
from model.face_engine.interface import Face, FaceEngine

TIER = "scan"
DEFAULT_SIDE_PX, DEFAULT_SURE_SCORE = 640, 0.0
LATE_SHARE = 0.95
"""Where in a clip that has shown no face the last look is made; the evenly spaced ones end a step before its end."""


@dataclass(frozen=True)
class ScannedClip:
    """What the scan says of a clip, and the rows of its looks without the engine's columns."""

    verdict: Reason | None
    frames_asked: int
    frames: list[dict[str, Any]] = field(default_factory=list)
    faces: list[dict[str, Any]] = field(default_factory=list)


def scan_clip(clip_id: str, shard: str, footage: Footage, margins: ScanMargins, engine: FaceEngine) -> ScannedClip:
    """Look until the clip is known to be hopeless or not. One that cannot be looked into is left to the survey, which
    says what is wrong with it."""
    looks: list[Look] = []
    verdict = LOOK_ON
    scanned = ScannedClip(None, 0)
    closer = _CloserLooks()
    try:
        index = read_index(footage)
        planned = plan_looks(index, margins.scan_looks)
        scanned = ScannedClip(None, len(planned))
        for looked_at in look_into(footage, index, planned):
            looks.append(_look(clip_id, shard, looked_at, margins, engine, scanned))
            closer.remember(looked_at, looks, len(planned))
            verdict = judge(looks, len(planned), margins)
            if verdict.course != Course.LOOK_ON:
                break
        if verdict.reason == Reason.NO_FACE and closer.show_a_face(footage, index, engine):
            return scanned
    except ClipError:
        return scanned
    return replace(scanned, verdict=verdict.reason)


class _CloserLooks:
    """The frames at which a clip is looked at as the survey would, before it counts as one without a face: the middle one, the
    one that came nearest to showing a face (one that turns away is seen by halves), and one behind the last look."""

    def __init__(self) -> None:
        self._middle: LookedAtFrame | None = None
        self._likeliest: LookedAtFrame | None = None
        self._best_score = -math.inf

    def remember(self, looked_at: LookedAtFrame, looks: Sequence[Look], planned: int) -> None:
        """Take note of the frame of the last of `looks`."""
        if len(looks) <= planned // 2 + 1:
            self._middle = looked_at
        if (score := max(looks[-1].scores, default=-math.inf)) > self._best_score:
            self._likeliest, self._best_score = looked_at, score

    def show_a_face(self, footage: Footage, index: FrameIndex, engine: FaceEngine) -> bool:
        """Whether the engine finds a face in any of them.

        Raises:
            ClipError: the end of the clip cannot be decoded.
        """
        seen = dict.fromkeys(frame for frame in (self._likeliest, self._middle) if frame is not None)
        late = (index.pts[-1] - index.pts[0]) * LATE_SHARE + index.pts[0]
        frames = itertools.chain(seen, look_into(footage, index, [round(late)]))
        return any(engine.detect(frame.shown.rgb(), embed=False) for frame in frames)


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
        clip_id, shard, TIER, looked_at.frame_index, looked_at.pts, looked_at.time_base, looked_at.time_s, width, height
    )
    scores = tuple(face.score for face in faces if face.score is not None)
    scanned.frames.append(frame_row(place, image, len(faces)))
    scanned.faces.extend(face_row(place, number, face, None) for number, face in enumerate(faces))
    height_px = head_height_px(faces[0].landmarks_px) if faces else None
    return Look(
        areas=tuple(frame_share(face, width, height) for face in faces),
        scores=scores,
        sure=max(scores, default=-math.inf) >= sure_score,
        height_share=height_px and height_px / min(width, height),
        angles=coarse_angles(faces[0].landmarks_px) if faces else None,
        thumbnail=thumbnail(image),
    )


def _enlarged(face: Face, scale_xy: NDArray[np.float64]) -> Face:
    """The face in pixels of the full-size frame."""
    x1, y1, x2, y2 = (float(edge) for edge in np.asarray(face.box_xyxy_px) * np.tile(scale_xy, 2))
    return replace(face, box_xyxy_px=(x1, y1, x2, y2), landmarks_px=np.asarray(face.landmarks_px * scale_xy, np.float32))
