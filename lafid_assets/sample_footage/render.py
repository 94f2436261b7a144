"""From a scene to its frames.

Belongs here: who stands where in which pose at a time, lips included, in front of the backdrop. Not here: how a head is turned
(`head_warp`), what the scene is (`scenes`).
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lafid_assets.sample_footage.backdrop import make_backdrop
from lafid_assets.sample_footage.face_sheet import FaceSheet, RgbaImage, make_face_sheet
from lafid_assets.sample_footage.head_warp import Placement, Pose, warp_map
from lafid_assets.sample_footage.mouth import open_mouth
from lafid_assets.sample_footage.persons import PERSONS
from lafid_assets.sample_footage.resample import resample
from lafid_assets.sample_footage.scenes import Appearance, Motion, Scene
from lafid_assets.sample_footage.voice import SAMPLE_RATE_HZ, Samples

RgbFrame = NDArray[np.uint8]  # (height, width, 3)
Landmarks = Mapping[str, NDArray[np.float64]]
"""Portrait's name to the (68, 2) landmarks of its sitter."""

_WIDEST_GAP = 0.20
_MOUTH_LEVELS = 10
_SWAY_PX, _SWAY_PERIOD_S = 6.0, 2.7


class Studio:
    """Renders scenes; prepares each person once."""

    def __init__(self, landmarks: Landmarks) -> None:
        self._landmarks = landmarks
        self._sheets: dict[str, FaceSheet] = {}
        self._texture = lru_cache(maxsize=4 * _MOUTH_LEVELS)(self._make_texture)

    def frames(self, scene: Scene, loudness: Samples | None) -> Iterator[RgbFrame]:
        """The frames of `scene`, lips following `loudness` (n,) at `SAMPLE_RATE_HZ`; without it they are still."""
        backdrop = make_backdrop(scene.size, scene.seed)
        first = 0
        for shot in scene.shots:
            count = round(shot.duration_s * scene.fps)
            for index in range(first, first + count):
                time_s = index / scene.fps
                picture = backdrop.at(time_s)
                for appearance in shot.people:
                    level = mouth_level(loudness, time_s)
                    picture = self._draw(picture, appearance, (index - first) / scene.fps, level)
                yield picture
            first += count

    def _draw(self, picture: RgbFrame, appearance: Appearance, time_s: float, level: int) -> RgbFrame:
        import cv2

        sheet = self._sheet(appearance.person)
        height, width = picture.shape[:2]
        placement = Placement(
            appearance.x * width + _SWAY_PX * np.sin(2 * np.pi * time_s / _SWAY_PERIOD_S),
            appearance.y * height,
            appearance.scale,
        )
        pose = pose_at(appearance.motion, time_s)
        source = warp_map(sheet.frame, sheet.depth, pose, placement, (width, height))
        texture = self._texture(appearance.person, level)
        layer = resample(texture, source)
        behind = cv2.multiply(picture, cv2.cvtColor(255 - layer[..., 3], cv2.COLOR_GRAY2RGB), scale=1 / 255)
        return np.asarray(cv2.add(behind, np.ascontiguousarray(layer[..., :3])), np.uint8)

    def _sheet(self, name: str) -> FaceSheet:
        if name not in self._sheets:
            person = PERSONS[name]
            self._sheets[name] = make_face_sheet(person, self._landmarks[person.portrait.name])
        return self._sheets[name]

    def _make_texture(self, name: str, level: int) -> RgbaImage:
        sheet = self._sheet(name)
        return open_mouth(sheet.texture, sheet.frame, _WIDEST_GAP * level / _MOUTH_LEVELS) if level else sheet.texture


def pose_at(motion: Motion, time_s: float) -> Pose:
    """The pose at a time. Yaw runs evenly between its ends, starting midway; roll peaks while yaw is midway."""
    phase = 2 * np.pi * time_s / motion.period_s
    even = 2 / np.pi * np.arcsin(0.98 * np.sin(phase)) / (2 / np.pi * np.arcsin(0.98))
    return Pose(
        _between(motion.yaw_deg, float(even)),
        _between(motion.pitch_deg, float(np.sin(2 * phase))),
        _between(motion.roll_deg, float(np.cos(phase))),
    )


def mouth_level(loudness: Samples | None, time_s: float) -> int:
    """How far the mouth is open, 0 to `_MOUTH_LEVELS`, at a time."""
    if loudness is None:
        return 0
    sample = min(round(time_s * SAMPLE_RATE_HZ), len(loudness) - 1)
    return round(_MOUTH_LEVELS * float(loudness[sample]))


def _between(ends: Sequence[float], position: float) -> float:
    """-1 gives the first end, 1 the second."""
    return (ends[0] + ends[1]) / 2 + position * (ends[1] - ends[0]) / 2
