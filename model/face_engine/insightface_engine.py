"""Faces by insightface's networks: SCRFD boxes and points, ArcFace identity, and the head pose and mouth that were chosen.

Belongs here: running them on images. Not here: which models those are (`selection`), the networks for head pose
and landmarks (`head_pose`, `mouth`).
"""

import hashlib
import math
from collections.abc import Sequence
from functools import cached_property, lru_cache
from importlib.metadata import PackageNotFoundError, metadata, packages_distributions, version
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from model.face_engine.crops import norm_crop
from model.face_engine.expression import expression_of
from model.face_engine.head_pose.loading import load_head_pose
from model.face_engine.interface import Box, EngineInfo, Face, Image, checked_image
from model.face_engine.landmark_pose import MAX_YAW_DEG, load_landmark_pose
from model.face_engine.landmark_pose import WEIGHTS as POSE_WEIGHTS
from model.face_engine.mouth.landmark_networks import load_mouth
from model.face_engine.onnx_session import crop_batch, open_session, provider
from model.face_engine.rotations import angles_from_rotation
from model.face_engine.selection import Parts
from model.files import sha256_file
from model.model_store.registry import Kind
from model.model_store.store import InstalledModel
from model.strict import StrictModel

CODE_VERSION = 2
"""Raised when the same weights and settings would give other faces."""

GLANCE_MIN_SCORE = 0.3
"""Lowest score of a face in a glance: at a small input real faces score lower than the 0.5 that `detect` asks for."""
_STRIDE_PX = 32
"""Coarsest stride of SCRFD: its input is a multiple of it."""
_CROP_SIDE_PX = 112
_NO_POINTS = np.empty((0, 2), np.float32)


class InsightfaceSettings(StrictModel):
    """How `InsightfaceEngine` looks for faces."""

    detection_side_px: int = Field(
        default=640,
        ge=128,
        le=2560,
        multiple_of=_STRIDE_PX,
        description="Side of SCRFD's square input, where the network leaves it open; 320 costs a quarter of 640",
    )
    min_score: float = Field(default=0.5, gt=0, lt=1, description="Lowest SCRFD score of a face (insightface's default)")
    pad_share: float = Field(
        default=0.5, gt=0, le=1, description="Border around a frame in which nothing was found, share of its longer side"
    )


class _Detected(NamedTuple):
    box: Box
    score: float
    points: NDArray[np.float32]


class InsightfaceEngine:
    """Faces by SCRFD and ArcFace. Networks are loaded at first use; one instance serves one thread.

    Detection is insightface's own at the same input size, so boxes and embeddings are those of `FaceAnalysis.get`. A face that
    fills the frame is missed there: when nothing is found, the frame is looked at again with a border around it.
    """

    def __init__(self, parts: Parts, settings: InsightfaceSettings | None = None) -> None:
        self.parts = parts
        self.settings = settings or InsightfaceSettings()
        self._head_pose = load_head_pose(parts.head_pose)
        self._mouth = load_mouth(parts.mouth) if parts.mouth else None
        self._landmark_pose = load_landmark_pose()

    @cached_property
    def info(self) -> EngineInfo:
        """Name, versions, licence and fingerprint."""
        return describe(self.parts, self.settings)

    def detect(self, image_rgb: Image, *, embed: bool = True) -> list[Face]:
        """All faces, largest box first (`FaceEngine.detect`); their landmarks are SCRFD's five points."""
        return self.detect_many([image_rgb], embed=embed)[0]

    def detect_many(self, images_rgb: Sequence[Image], *, embed: bool = True) -> list[list[Face]]:
        """`detect` for each image in turn (`FaceEngine.detect_many`)."""
        images = [checked_image(image) for image in images_rgb]
        found = [self._detected(image) for image in images]
        owners = [image for image, faces in zip(images, found, strict=True) for _ in faces]
        faces = [face for of_image in found for face in of_image]
        rotations = self._head_pose.rotations(owners, [face.box for face in faces])
        embeddings = self._embeddings(owners, faces) if embed else [None] * len(faces)
        mouths = [self._mouth_points(*of_face) for of_face in zip(owners, (face.box for face in faces), rotations, strict=True)]
        measured = iter(
            [
                Face(
                    box_xyxy_px=face.box,
                    score=face.score,
                    landmarks_px=face.points,
                    rotation=rotation,
                    embedding=embedding,
                    mouth_opening=mouth and self._landmark_pose.mouth_opening(*mouth),
                    expression=mouth and expression_of(*mouth),
                )
                for face, rotation, embedding, mouth in zip(faces, rotations, embeddings, mouths, strict=True)
            ]
        )
        return [[next(measured) for _ in of_image] for of_image in found]

    def glance(self, image_rgb: Image, *, side_px: int) -> list[Face]:
        """Boxes, scores and five points from a small input (`FaceEngine.glance`); `side_px` bounds its longer side, and does
        nothing where the network's input is fixed."""
        image = checked_image(image_rgb)
        return [Face(face.box, face.score, face.points) for face in self._detected(image, side_px=side_px)]

    def landmarks(self, image_rgb: Image, box: Box | None = None) -> Face | None:
        """Landmarks, pose and mouth of one face (`FaceEngine.landmarks`): the 68 points of the mouth model, and the pose that
        they show. Without a mouth model there are neither points nor mouth, and the pose is the head pose network's."""
        image = checked_image(image_rgb)
        score = None
        if box is None:
            found = self._detected(image)
            if not found:
                return None
            box, score = found[0].box, found[0].score
        points = self._mouth.points_68(image, box) if self._mouth else None
        if points is None:
            rotation, opening = self._head_pose.rotations([image], [box])[0], None
        else:
            rotation = self._landmark_pose.rotation(points)
            opening = None if rotation is None else self._landmark_pose.mouth_opening(points, rotation)
        shown = _NO_POINTS if points is None else points
        return Face(box, score, shown, rotation, embedding=None, mouth_opening=opening)

    def _detected(self, image: Image, *, side_px: int | None = None) -> list[_Detected]:
        """Boxes, scores and points, largest box first; of a glance where `side_px` is given."""
        found = self._pass(image, side_px)
        if not found:
            pad = int(self.settings.pad_share * max(image.shape[:2]))
            padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))
            found = [_shifted(face, pad) for face in self._pass(padded, side_px)]
        return sorted(found, key=lambda face: (face.box[0] - face.box[2]) * (face.box[3] - face.box[1]))

    def _pass(self, image: Image, side_px: int | None) -> list[_Detected]:
        size, min_score = (self.settings.detection_side_px,) * 2, self.settings.min_score
        if side_px is not None:
            size, min_score = _fitted_input(image, side_px), GLANCE_MIN_SCORE
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        boxes, points = self._detector.detect(bgr, input_size=size, det_thresh=min_score)
        return [
            _Detected((float(x1), float(y1), float(x2), float(y2)), float(score), np.asarray(five, np.float32))
            for (x1, y1, x2, y2, score), five in zip(boxes, points, strict=True)
        ]

    def _embeddings(self, images: Sequence[Image], faces: Sequence[_Detected]) -> list[NDArray[np.float32]]:
        """Unit vectors, one a face, of crops aligned by the five points and cut from the full-size frames."""
        crops = [
            cv2.cvtColor(norm_crop(image, face.points, _CROP_SIDE_PX), cv2.COLOR_RGB2BGR)
            for image, face in zip(images, faces, strict=True)
        ]
        batch = 1 if isinstance(self._embedder.input_shape[0], int) else crop_batch()
        vectors = [
            vector for start in range(0, len(crops), batch) for vector in self._embedder.get_feat(crops[start : start + batch])
        ]
        return [np.asarray(vector / np.linalg.norm(vector), np.float32) for vector in vectors]

    def _mouth_points(
        self, image: Image, box: Box, rotation: NDArray[np.float32] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """The mouth model's 68 points and the rotation to read them by; None without either, and beyond 45 degrees of yaw, where
        half of the lips and one eye are hidden."""
        if self._mouth is None or rotation is None or abs(angles_from_rotation(rotation).yaw_deg) > MAX_YAW_DEG:
            return None
        points = self._mouth.points_68(image, box)
        return None if points is None else (points, rotation)

    @cached_property
    def _detector(self) -> Any:
        from insightface.model_zoo.scrfd import SCRFD

        path = _network_path(self.parts.detector, Kind.SCRFD)
        return SCRFD(str(path), open_session(path))

    @cached_property
    def _embedder(self) -> Any:
        from insightface.model_zoo.arcface_onnx import ArcFaceONNX

        path = _network_path(self.parts.embedder, Kind.ARCFACE)
        return ArcFaceONNX(str(path), open_session(path))


def describe(parts: Parts, settings: InsightfaceSettings | None = None) -> EngineInfo:
    """What the engine of these parts records with its measurements; no network is loaded.

    The name carries the embedder, since embeddings of two embedders are never compared.
    """
    versions = ", ".join(f"{package} {version(package)}" for package in ("insightface", _onnxruntime()))
    embedder = parts.embedder.networks(Kind.ARCFACE)[0][1]
    facts = [f"insightface/{CODE_VERSION}", versions, provider(), (settings or InsightfaceSettings()).model_dump_json()]
    facts += [parts.detector.networks(Kind.SCRFD)[0][1].sha256, embedder.sha256, load_head_pose(parts.head_pose).fingerprint]
    facts += [load_mouth(parts.mouth).fingerprint, sha256_file(POSE_WEIGHTS)] if parts.mouth else []
    assert embedder.embedding_dim is not None
    return EngineInfo(
        name=f"insightface/{parts.embedder.entry.name}",
        version=f"{versions} ({parts.summary})",
        embedding_dim=embedder.embedding_dim,
        licence=str(parts.licence),
        fingerprint=hashlib.sha256("\n".join(facts).encode()).hexdigest(),
        mouth=load_mouth(parts.mouth).name if parts.mouth else None,
    )


def _network_path(model: InstalledModel, kind: Kind) -> Path:
    return model.networks(kind)[0][0]


@lru_cache(maxsize=1)
def _onnxruntime() -> str:
    """Name of the one onnxruntime distribution that is installed; to look for another than the usual one takes a while."""
    try:
        return str(metadata("onnxruntime")["Name"])
    except PackageNotFoundError:
        return packages_distributions()["onnxruntime"][0]


def _fitted_input(image: Image, side_px: int) -> tuple[int, int]:
    """Width and height of the smallest input that takes the image at `side_px`: no network looks at a letterbox's black."""
    height, width = image.shape[:2]
    scale = side_px / max(height, width)
    return tuple(_STRIDE_PX * math.ceil(round(edge * scale) / _STRIDE_PX) for edge in (width, height))  # type: ignore[return-value]


def _shifted(face: _Detected, pad_px: int) -> _Detected:
    """Out of the padded frame's coordinates."""
    x1, y1, x2, y2 = (edge - pad_px for edge in face.box)
    return _Detected((x1, y1, x2, y2), face.score, face.points - pad_px)
