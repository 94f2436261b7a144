"""FaceMesh and insightface's 2d106: dense landmarks, reduced to the 68 points that `landmark_pose` knows.

Belongs here: their crops and which of their points are which of the 68. Not here: head pose and mouth opening from points.
"""

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from model.face_engine.crops import square_crop
from model.face_engine.interface import Box, Image
from model.face_engine.onnx_session import open_session, provider
from model.model_store.registry import Kind
from model.model_store.store import InstalledModel, StoredFile

CODE_VERSION = 2
"""Raised when the same weights would give other points."""

MESH_BOX_SCALE = 1.25
"""Side of Face Mesh's square crop over the longer side of the box. In 24 speakers the lips move by 0.056 of the face's height
(median) at 1.1 and 1.25, by 0.045 at 1.5; at 1.1 lips and sound are told apart less well, the lips of small faces least."""
SIDE_PX = 192

_MESH_POINTS = (
    *(127, 234, 93, 132, 58, 136, 150, 176, 152, 400, 379, 365, 288, 361, 323, 454, 356),
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91, 78, 81, 13, 311, 308, 402, 14, 178),
)
"""The mesh's points, of 468, that are nearest to the 68 (Google's canonical face model)."""
_COORDINATE_POINTS = (
    *(1, 10, 12, 14, 16, 3, 5, 7, 0, 23, 21, 19, 32, 30, 28, 26, 17),
    *(43, 48, 49, 51, 50, 102, 103, 104, 105, 101),
    *(72, 73, 74, 86, 78, 79, 80, 85, 84),
    *(35, 41, 42, 39, 37, 36, 89, 95, 96, 93, 91, 90),
    *(52, 64, 63, 71, 67, 68, 61, 58, 59, 53, 56, 55, 65, 66, 62, 70, 69, 57, 60, 54),
)
"""Of 2d106's points, those nearest to the 68 (its published mark-up)."""


class MouthLandmarks(Protocol):
    """Landmarks of a face whose box is known. Deterministic; one instance serves one thread."""

    @property
    def name(self) -> str:
        """One of `interface.MOUTH_MODELS`."""
        ...

    @property
    def fingerprint(self) -> str: ...

    def points_68(self, image_rgb: Image, box: Box) -> NDArray[np.float32] | None:
        """(68, 2) x and y in pixels of the image; None where the box has no area."""
        ...


class FaceMesh:
    """MediaPipe's Face Mesh: 468 points from a square RGB crop in 0..1."""

    name = "face_mesh"

    def __init__(self, path: Path, file: StoredFile) -> None:
        self._path = path
        self.fingerprint = _fingerprint(f"{self.name}/{MESH_BOX_SCALE}", file)

    def points_68(self, image_rgb: Image, box: Box) -> NDArray[np.float32] | None:
        """(68, 2) (`MouthLandmarks.points_68`)."""
        crop = square_crop(image_rgb, box, MESH_BOX_SCALE)
        if crop is None:
            return None
        blob = cv2.resize(crop, (SIDE_PX, SIDE_PX))[None].astype(np.float32) / 255
        mesh = self._session.run(None, {self._session.get_inputs()[0].name: blob})[0].reshape(468, 3)
        return _in_image(mesh[_MESH_POINTS, :2], box, crop.shape[0])

    @cached_property
    def _session(self) -> Any:
        return open_session(self._path)


class CoordinateRegression:
    """insightface's 2d106: 106 points, through its own `Landmark`, which cuts its own crop."""

    name = "2d106"

    def __init__(self, path: Path, file: StoredFile) -> None:
        self._path = path
        self.fingerprint = _fingerprint(self.name, file)

    def points_68(self, image_rgb: Image, box: Box) -> NDArray[np.float32] | None:
        """(68, 2) (`MouthLandmarks.points_68`)."""
        from insightface.app.common import Face

        if not min(box[2] - box[0], box[3] - box[1]) > 0:
            return None
        points = self._network.get(cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR), Face(bbox=np.asarray(box, np.float32)))
        return np.asarray(points[_COORDINATE_POINTS, :], np.float32)

    @cached_property
    def _network(self) -> Any:
        from insightface.model_zoo.landmark import Landmark

        return Landmark(str(self._path), open_session(self._path))


def load_mouth(model: InstalledModel) -> MouthLandmarks:
    """The landmark network of a mouth model, or of a pack that carries 2d106."""
    if model.entry.kind is Kind.FACE_MESH:
        return FaceMesh(*model.networks(Kind.FACE_MESH)[0])
    return CoordinateRegression(*model.networks(Kind.LANDMARKS_106)[0])


def _in_image(points: NDArray[np.float32], box: Box, crop_side_px: int) -> NDArray[np.float32]:
    """Points of the resized square crop in pixels of the image."""
    x1, y1, x2, y2 = box
    half = max(x2 - x1, y2 - y1) * MESH_BOX_SCALE / 2
    corner = np.array([(x1 + x2) / 2 - half, (y1 + y2) / 2 - half])
    return (points * (crop_side_px / SIDE_PX) + corner).astype(np.float32)


def _fingerprint(name: str, file: StoredFile) -> str:
    facts = f"{name}/{CODE_VERSION}/{provider()}/{file.sha256}"
    return hashlib.sha256(facts.encode()).hexdigest()
