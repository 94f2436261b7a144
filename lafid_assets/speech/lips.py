"""How the mouth of the main face moves.

Belongs here: following one face through stretches of a clip and measuring its mouth opening in every picture. Not here: what the
movement says (`synchrony`), how much it is, landmarks and pose (`model.face_engine`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage
from pydantic import Field

from lafid_assets.constraints.window import within
from lafid_assets.speech.frames import Look, sample_frames
from lafid_assets.speech.voice import Span, spans_within
from model.encoding.footage import Footage
from model.face_engine.interface import Box, Face, FaceEngine, Image
from model.strict import StrictModel

_SAME_FACE_IOU = 0.2
"""Heads move little in a fraction of a second: two boxes that overlap less are not one face followed."""
_NEAR_IOU = 0.8
"""Two boxes that overlap less are too far apart to be interpolated over more than a quarter of a second: landmarks of a head that
turns fast are lost then."""
_LOOKS_APART = 6
"""Detections nearer to each other than that tell nothing further."""
_CROP_MARGIN = 0.5
"""Room around the box, as a share of its side: landmarks reach beyond it. The thresholds of still mouths hold for this crop and
its resampling: with less room, or OpenCV's, a mouth that smiled under a voice seemed to follow it (z of 1.8 became 3.8)."""


class LipSettings(StrictModel):
    """How densely and how long lips are looked at."""

    fps: float = Field(
        default=25.0, ge=5, le=60, description="Looks a second; with half as many lips and sound are told apart less well."
    )
    first_s: float = Field(
        default=8.0,
        ge=1,
        description="Voice looked at first, nearest to the middle of the clip's window; of further voice only where these lips "
        "leave open whose it is.",
    )
    max_duration_s: float = Field(default=30.0, ge=1, description="Longest time looked at, by the same order.")
    chance_z: float = Field(
        default=0.0, description="Lips that follow the voice no closer than this are another's, and are looked at no longer."
    )
    clear_z: float = Field(
        default=2.5, description="Lips that follow the voice at least so closely are its speaker's, and are looked at no longer."
    )
    silent_windows: int = Field(
        default=4, ge=1, description="One-second windows, spread evenly, where there is sound but no voice."
    )
    detect_every: int = Field(
        default=12,
        ge=1,
        description="Faces are detected in every n-th look, their box interpolated in between; more often where the face moves "
        "fast or is lost.",
    )
    face_px: int = Field(
        default=256, ge=96, description="Side to which the face is scaled for its landmarks, which come in whole pixels."
    )


@dataclass(frozen=True, eq=False)
class MouthTrack:
    """The mouth of the main face over time.

    Attributes:
        times_s: (N,) seconds since the first picture, rising.
        openings: (N,) inner-lip gap over face height in the head's frame; NaN where it could not be measured.
        yaw_deg: (N,) of the face; NaN where the engine gave no pose.
        run: (N,) number of the stretch in which one face was followed without a break; different runs are never compared.
        searched_s: (D,) seconds of the pictures in which faces were detected.
        face_counts: (D,) faces in each of these.
    """

    times_s: NDArray[np.float64]
    openings: NDArray[np.float64]
    yaw_deg: NDArray[np.float64]
    run: NDArray[np.int64]
    searched_s: NDArray[np.float64]
    face_counts: NDArray[np.int64]

    def between(self, begin_s: float, end_s: float) -> "MouthTrack":
        """What was seen from one moment to another."""
        seen, searched = (within(times_s, begin_s, end_s - begin_s) for times_s in (self.times_s, self.searched_s))
        return MouthTrack(
            self.times_s[seen],
            self.openings[seen],
            self.yaw_deg[seen],
            self.run[seen],
            self.searched_s[searched],
            self.face_counts[searched],
        )

    def joined(self, later: "MouthTrack") -> "MouthTrack":
        """What was seen in two passes over different moments, in order of time."""
        order, searched = (
            np.argsort(np.concatenate(pair)) for pair in ((self.times_s, later.times_s), (self.searched_s, later.searched_s))
        )
        runs = later.run + self.run.max(initial=0) + 1
        return MouthTrack(
            np.concatenate([self.times_s, later.times_s])[order],
            np.concatenate([self.openings, later.openings])[order],
            np.concatenate([self.yaw_deg, later.yaw_deg])[order],
            np.concatenate([self.run, runs])[order],
            np.concatenate([self.searched_s, later.searched_s])[searched],
            np.concatenate([self.face_counts, later.face_counts])[searched],
        )

    @property
    def measurable_share(self) -> float | None:
        """Share of the looks that gave an opening; None without a look."""
        return float(np.isfinite(self.openings).mean()) if len(self.openings) else None

    @property
    def face_share(self) -> float | None:
        """Share of the pictures searched that show a face; None without one."""
        return float((self.face_counts > 0).mean()) if len(self.face_counts) else None

    @property
    def several_faces_share(self) -> float | None:
        """Share of the pictures searched that show more than one face; None without one."""
        return float((self.face_counts > 1).mean()) if len(self.face_counts) else None

    @property
    def yaw_abs_median_deg(self) -> float | None:
        """Median |yaw| over the looks with a pose; None without one."""
        known = np.abs(self.yaw_deg[np.isfinite(self.yaw_deg)])
        return float(np.median(known)) if len(known) else None


def voice_reach_s(voice: Sequence[Span], duration_s: float, around_s: float) -> float:
    """How far from `around_s` the `duration_s` of voice reach that lie nearest to it; all of it where there is no more."""
    # What is heard no farther away than that grows along straight lines between the ends of the spans.
    far_s = sorted({0.0, *(abs(end - around_s) for span in voice for end in (span.start_s, span.end_s))})
    heard_s = [sum(one.duration_s for one in spans_within(voice, around_s - far, around_s + far)) for far in far_s]
    return float(np.interp(duration_s, heard_s, far_s))


def silent_windows(duration_s: float, settings: LipSettings) -> list[Span]:
    """Windows of one second, spread evenly over the clip; the whole clip where it is no longer than they are together."""
    count = settings.silent_windows
    if duration_s <= count:
        return [Span(0.0, duration_s)]
    starts = (np.arange(count) + 0.5) * duration_s / count - 0.5
    return [Span(float(start), float(start) + 1.0) for start in starts]


def track_mouth(footage: Footage, windows: Sequence[Span], engine: FaceEngine, settings: LipSettings | None = None) -> MouthTrack:
    """Follow the main face through `windows` and measure its mouth in every look.

    The main face is the largest of the first picture with a face, then the one that overlaps it most; where none does,
    the largest begins a new run. Between two detections of one face its box is interpolated: the landmarks find the face
    again from there. Where the face moved far between them, or is seen in one of them alone, the look halfway is searched, too.

    Raises:
        ClipError: `decode_failed`, naming the file.
    """
    settings = settings or LipSettings()
    follower = _Follower(engine, settings)
    for look in sample_frames(footage, windows, settings.fps):
        follower.see(look)
    return follower.finish()


@dataclass(frozen=True, eq=False)
class _Detection:
    """The main face of a picture in which faces were detected."""

    look: Look
    box: Box


class _Follower:
    """Detects in every n-th look, more often where it must, and fills in those between two detections of the same face."""

    def __init__(self, engine: FaceEngine, settings: LipSettings) -> None:
        self._engine = engine
        self._settings = settings
        self._times_s: list[float] = []
        self._openings: list[float] = []
        self._yaw_deg: list[float] = []
        self._runs: list[int] = []
        self._searched_s: list[float] = []
        self._face_counts: list[int] = []
        self._run = 0
        self._span_index: int | None = None
        self._detected: _Detection | None = None
        self._waiting: list[Look] = []

    def see(self, look: Look) -> None:
        """Take the next look, in order of time."""
        if self._span_index != look.span_index:
            self._close_span()
            self._span_index = look.span_index
            self._waiting = [look]
            self._detect()
            return
        self._waiting.append(look)
        if len(self._waiting) >= self._settings.detect_every:
            self._detect()

    def finish(self) -> MouthTrack:
        """Everything seen."""
        self._close_span()
        in_order = np.argsort(self._searched_s)
        return MouthTrack(
            np.array(self._times_s, np.float64),
            np.array(self._openings, np.float64),
            np.array(self._yaw_deg, np.float64),
            np.array(self._runs, np.int64),
            np.array(self._searched_s, np.float64)[in_order],
            np.array(self._face_counts, np.int64)[in_order],
        )

    def _close_span(self) -> None:
        if self._waiting:
            self._detect()
        self._detected = None

    def _detect(self) -> None:
        """Find the main face in the newest look and measure all that wait."""
        newest = self._waiting.pop()
        self._follow(self._waiting, newest, self._search(newest))
        self._waiting = []

    def _search(self, look: Look) -> list[Face]:
        faces = self._engine.detect(look.image, embed=False)
        self._searched_s.append(look.time_s)
        self._face_counts.append(len(faces))
        return faces

    def _follow(self, between: Sequence[Look], newest: Look, faces: Sequence[Face]) -> None:
        """Measure the looks since the last detection, and the newest, in which these faces were found."""
        before, after = self._detected, self._main_face(newest, faces)
        overlap = _iou(before.box, after.box) if before and after else 0.0
        if (before or after) and overlap < _NEAR_IOU and len(between) >= _LOOKS_APART:
            half = len(between) // 2
            self._follow(between[:half], between[half], self._search(between[half]))
            self._follow(between[half + 1 :], newest, faces)
            return
        if before and after and overlap >= _SAME_FACE_IOU:
            for look in between:
                self._measure(look, _between(before, after, look.time_s))
        else:
            self._run += 1
            for look in between:
                self._measure(look, None)
        self._measure(newest, after.box if after else None)
        self._detected = after

    def _main_face(self, look: Look, faces: Sequence[Face]) -> _Detection | None:
        """Of the faces, largest first: the one that was followed so far, else the largest."""
        if not faces:
            return None
        if self._detected is None:
            return _Detection(look, faces[0].box_xyxy_px)
        before = self._detected.box
        nearest = max(faces, key=lambda face: _iou(before, face.box_xyxy_px))
        followed = _iou(before, nearest.box_xyxy_px) >= _SAME_FACE_IOU
        return _Detection(look, (nearest if followed else faces[0]).box_xyxy_px)

    def _measure(self, look: Look, box: Box | None) -> None:
        face = None if box is None else _face_within(self._engine, look.image, box, self._settings.face_px)
        opening = None if face is None else face.mouth_opening
        angles = None if face is None else face.angles
        self._times_s.append(look.time_s)
        self._openings.append(np.nan if opening is None else opening)
        self._yaw_deg.append(np.nan if angles is None else angles.yaw_deg)
        self._runs.append(self._run)


def _face_within(engine: FaceEngine, image: Image, box: Box, face_px: int) -> Face | None:
    """The face of `box`, measured in a crop in which the box is `face_px` wide. Its coordinates are the crop's."""
    x1, y1, x2, y2 = box
    margin = _CROP_MARGIN * max(x2 - x1, y2 - y1)
    left, top = max(0, round(x1 - margin)), max(0, round(y1 - margin))
    right, bottom = min(image.shape[1], round(x2 + margin)), min(image.shape[0], round(y2 + margin))
    if right - left < 2 or bottom - top < 2:
        return None
    scale = face_px / max(x2 - x1, y2 - y1)
    size = (max(2, round((right - left) * scale)), max(2, round((bottom - top) * scale)))
    crop = PilImage.fromarray(image[top:bottom, left:right]).resize(size, PilImage.Resampling.BILINEAR)
    moved = ((x1 - left) * scale, (y1 - top) * scale, (x2 - left) * scale, (y2 - top) * scale)
    return engine.landmarks(np.asarray(crop), moved)


def _between(before: _Detection, after: _Detection, time_s: float) -> Box:
    """The box at `time_s` on the straight line between two boxes of one face."""
    share = (time_s - before.look.time_s) / (after.look.time_s - before.look.time_s)
    x1, y1, x2, y2 = (a + share * (b - a) for a, b in zip(before.box, after.box, strict=True))
    return x1, y1, x2, y2


def _iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)
