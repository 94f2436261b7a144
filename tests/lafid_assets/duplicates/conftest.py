"""Shots of a person in a room, and copies of them as people make them: encoded anew, scaled, cropped, shortened, mirrored."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lafid_assets.faces.settings import AnalysisSettings
from lafid_assets.faces.survey import survey_clip
from model.face_engine.interface import Box, EngineInfo, Face, Image
from model.face_engine.rotations import rotation_from_angles

RATE, SECONDS = 16, 4.0
WIDTH, HEIGHT = 256, 144
Pictures = NDArray[np.uint8]


class TintedFaceEngine:
    """Sees one red head, whose green says how far it is turned and whose blue says who it is."""

    info = EngineInfo(name="dlib/tinted", version="1", embedding_dim=2, licence="none", fingerprint="tinted")

    def detect(self, image_rgb: Image, *, embed: bool = True) -> list[Face]:
        red, green, blue = (image_rgb[..., band].astype(int) for band in range(3))
        inside = (red > 170) & (green < 150) & (blue < 120)
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        if len(rows) < 3 or len(columns) < 3:
            return []
        box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
        yaw_deg = float(np.median(green[inside])) - 80
        person = float(np.median(blue[inside]) > 60)
        points = np.tile(np.float32([[(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]]), (5, 1))
        rotation = rotation_from_angles(yaw_deg, 0, 0).astype(np.float32)
        return [Face(box, 0.9, points, rotation, np.array([1 - person, person], np.float32), None)]

    def detect_many(self, images_rgb: Sequence[Image], *, embed: bool = True) -> list[list[Face]]:
        return [self.detect(image) for image in images_rgb]

    def glance(self, image_rgb: Image, *, side_px: int) -> list[Face]:
        raise NotImplementedError

    def landmarks(self, image_rgb: Image, box: Box | None = None) -> Face | None:
        raise NotImplementedError


def _take(take: int, person: int = 0, *, mirrored: bool = False) -> Pictures:
    """A head that turns and wanders in one room, in every take otherwise; in a mirror it turns the other way."""
    room = np.random.default_rng(7).uniform(0, 160, (9, 16)).astype(np.float32)
    room = cv2.resize(room, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC).clip(0, 160).astype(np.uint8)
    pace, start = ((1.3, 0.0), (2.1, 1.9))[take]
    pictures = []
    for time_s in np.arange(0, SECONDS, 1 / RATE):
        picture = np.repeat(room[..., None], 3, axis=2)
        turn = np.sin(pace * time_s + start) * (-1 if mirrored else 1)
        middle = (int(WIDTH * (0.5 + 0.15 * np.sin(0.9 * pace * time_s - start))), int(HEIGHT * 0.5))
        cv2.ellipse(picture, middle, (22, 32), 0, 0, 360, (225, int(80 + 50 * turn), 100 if person else 20), -1)
        pictures.append(picture[:, ::-1] if mirrored else picture)
    return np.stack(pictures)


def _cropped(pictures: Pictures, left: float, top: float, right: float, bottom: float) -> Pictures:
    _, height, width, _ = pictures.shape
    y, x = slice(int(height * top) // 2 * 2, int(height * bottom) // 2 * 2), slice(int(width * left), int(width * right))
    return pictures[:, y, x][:, :, : (int(width * right) - int(width * left)) // 2 * 2]


def _scaled(pictures: Pictures, share: float) -> Pictures:
    size = (int(WIDTH * share) // 2 * 2, int(HEIGHT * share) // 2 * 2)
    return np.stack([cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in pictures])


FILMS: dict[str, tuple[Callable[[], Pictures], str]] = {
    "a original": (lambda: _take(0), "18"),
    "b smaller": (lambda: _scaled(_take(0), 0.6), "32"),
    "c cropped": (lambda: _cropped(_take(0), 0.05, 0.05, 0.95, 0.95), "26"),
    "d without its last lines": (lambda: _cropped(_take(0), 0, 0, 1, 0.9), "26"),
    "e shortened": (lambda: _take(0)[int(0.3 * RATE * SECONDS) :], "26"),
    "f another take": (lambda: _take(1), "18"),
    "g another person": (lambda: _take(0, person=1), "18"),
    "h mirrored": (lambda: _take(0, mirrored=True), "18"),
    "i mirrored, cropped and shortened": (
        lambda: _cropped(_take(0, mirrored=True)[int(0.3 * RATE * SECONDS) :], 0.1, 0, 1, 1),
        "26",
    ),
}
"""All but `f` and `g` are one shot."""


@pytest.fixture(scope="session")
def surveyed(tmp_path_factory: pytest.TempPathFactory, write_video: Callable[..., Path]) -> dict[str, Any]:
    """Film to what the survey sees in it."""
    folder = tmp_path_factory.mktemp("films")
    rows = {}
    for name, (make, crf) in FILMS.items():
        path = write_video(folder / f"{name}.mp4", pictures=make(), fps=RATE, options={"crf": crf})
        rows[name] = survey_clip(name, "shard-00000", path, AnalysisSettings(), TintedFaceEngine())
        assert rows[name].fault is None
        assert rows[name].faces
    return rows
