"""The embedded face engine: dlib's HOG detector, 68 landmarks and 128-d identity embedding.

Belongs here: running dlib on one image. Not here: where its weights lie (`dlib_weights`), head pose and mouth opening
from landmarks (`landmark_pose`). Needs numpy, Pillow and dlib alone: the model uses it at inference, where OpenCV is
not installed.
"""

import hashlib
from collections.abc import Sequence
from functools import cached_property, lru_cache
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage
from pydantic import Field

from model.face_engine.dlib_weights import find_dlib_weights
from model.face_engine.expression import expression_of
from model.face_engine.interface import Box, EngineInfo, Face, Image, checked_image
from model.face_engine.landmark_pose import MIRROR, load_landmark_pose
from model.face_engine.landmark_pose import WEIGHTS as POSE_WEIGHTS
from model.files import sha256_file
from model.strict import StrictModel

_sha256 = lru_cache(sha256_file)
CODE_VERSION = 2
"""Raised when the same weights and settings would give other faces."""

_START_SCALES = (0.94, 1.06)
"""Sizes, in those of the detected box, of the boxes from which the landmarks are predicted."""
_PATCH_MARGIN = 0.5
"""What the landmark predictor sees around the box, as a share of its longer side."""
GLANCE_MIN_SCORE = -0.2
"""Lowest HOG score of a face in the first pass of a glance; `detect` asks for 0."""
_LEFT_EYE, _RIGHT_EYE, _NOSE_TIP, _MOUTH_CORNERS = slice(36, 42), slice(42, 48), 30, [48, 54]
"""Those of the 68 points that lie behind the five of a glance; left and right in the image."""


class DlibSettings(StrictModel):
    """How `DlibEngine` looks for faces."""

    detection_side_px: int = Field(
        default=640, ge=160, le=2560, description="Longer side of the frame in the detector; faces from 80 px there."
    )
    min_score: float = Field(default=0.0, description="Lowest HOG score of a face in the first pass (dlib's default).")
    retry_min_score: float = Field(
        default=0.25, description="Lowest score in the passes after an empty first one: enlarged textures reach 0.17."
    )
    pad_share: float = Field(
        default=0.5, gt=0, le=1, description="Border around a frame that a face fills, share of its longer side."
    )
    max_landmark_spread: float = Field(
        default=0.02,
        gt=0,
        description="Pose is given up where the predictions of the landmarks lie farther apart than this share of the box "
        "(root mean square distance from their mean): about the greatest noise that the pose was fitted with.",
    )


class DlibEngine:
    """Faces by dlib. Models are loaded at first use; one instance serves one thread.

    Detection runs in up to three passes, each only when the one before found nothing: the frame at
    `detection_side_px`; twice that size (HOG misses 4-5 % of near-frontal faces otherwise, and all below 80 px); the
    frame with a border around it (a face that fills the frame leaves HOG no context).

    Landmarks are the mean of four predictions, from two box sizes on the image and on its mirror image: steadier than
    one, finer than dlib's whole pixels, fair to left and right; and their spread tells where the predictor only guesses
    (profiles, hands before the face).
    """

    def __init__(self, settings: DlibSettings | None = None) -> None:
        self.settings = settings or DlibSettings()
        self._weights = find_dlib_weights()
        self._pose = load_landmark_pose()

    @cached_property
    def info(self) -> EngineInfo:
        """Name, versions, licence and fingerprint."""
        versions = f"dlib-bin {version('dlib-bin')}, face-recognition-models {version('face-recognition-models')}"
        weights = (self._weights.landmarks_68, self._weights.embedding_128, POSE_WEIGHTS)
        parts = (f"dlib/{CODE_VERSION}", versions, *map(_sha256, weights), self.settings.model_dump_json())
        return EngineInfo(
            name="dlib",
            version=versions,
            embedding_dim=128,
            licence=self._weights.licence,
            fingerprint=hashlib.sha256("\n".join(parts).encode()).hexdigest(),
            mouth="dlib",
        )

    def detect(self, image_rgb: Image, *, embed: bool = True) -> list[Face]:
        """All faces, largest box first (`FaceEngine.detect`)."""
        image = checked_image(image_rgb)
        return [self._face(image, box, score, embed=embed) for box, score in self._boxes(image)]

    def detect_many(self, images_rgb: Sequence[Image], *, embed: bool = True) -> list[list[Face]]:
        """`detect` for each image in turn (`FaceEngine.detect_many`)."""
        return [self.detect(image, embed=embed) for image in images_rgb]

    def glance(self, image_rgb: Image, *, side_px: int) -> list[Face]:
        """Boxes, scores and five points of faces from 80 px at `side_px`, or from half of that where there are none
        (`FaceEngine.glance`). The points are of one prediction, not of four."""
        image = checked_image(image_rgb)
        faces = []
        for box, score in self._boxes(image, side_px=side_px, min_score=GLANCE_MIN_SCORE):
            points = self._predict(image, box)
            eyes = points[_LEFT_EYE].mean(axis=0), points[_RIGHT_EYE].mean(axis=0)
            five = np.stack([*eyes, points[_NOSE_TIP], *points[_MOUTH_CORNERS]]).astype(np.float32)
            faces.append(Face(box, score, five))
        return faces

    def landmarks(self, image_rgb: Image, box: Box | None = None) -> Face | None:
        """Landmarks, pose and mouth of one face (`FaceEngine.landmarks`)."""
        image = checked_image(image_rgb)
        if box is not None:
            return self._face(image, box, None, embed=False)
        largest = self._boxes(image)[:1]
        return self._face(image, *largest[0], embed=False) if largest else None

    def _face(self, image: Image, box: Box, score: float | None, *, embed: bool) -> Face:
        points, spread = self._landmarks(image, box)
        rotation = None if spread > self.settings.max_landmark_spread else self._pose.rotation(points)
        return Face(
            box_xyxy_px=box,
            score=score,
            landmarks_px=points.astype(np.float32),
            rotation=rotation,
            embedding=self._embedding(image, box, points) if embed else None,
            mouth_opening=None if rotation is None else self._pose.mouth_opening(points, rotation),
            expression=None if rotation is None else expression_of(points, rotation),
        )

    def _landmarks(self, image: Image, box: Box) -> tuple[NDArray[np.float64], float]:
        """(68, 2) mean of the predictions, and their root mean square distance from it as a share of the box's side."""
        x1, y1, x2, y2 = box
        side = max(x2 - x1, y2 - y1)
        left, top = (max(0, round(edge - _PATCH_MARGIN * side)) for edge in (x1, y1))
        right, bottom = (max(0, round(edge + _PATCH_MARGIN * side)) for edge in (x2, y2))
        patch = np.ascontiguousarray(image[top:bottom, left:right])
        if not patch.size:
            raise ValueError(f"the box {box} lies outside the image of {image.shape[1]} x {image.shape[0]} px")
        mirrored, last_x = np.ascontiguousarray(patch[:, ::-1]), patch.shape[1] - 1
        center_x, center_y = (x1 + x2) / 2 - left, (y1 + y2) / 2 - top
        predictions = []
        for scale in _START_SCALES:
            half_w, half_h = scale * (x2 - x1) / 2, scale * (y2 - y1) / 2
            edges = (center_x - half_w, center_y - half_h, center_x + half_w, center_y + half_h)
            predictions.append(self._predict(patch, edges))
            edges = (last_x - edges[2], edges[1], last_x - edges[0], edges[3])
            predictions.append((np.array((last_x, 0)) - self._predict(mirrored, edges) * (1, -1))[MIRROR])
        points = np.stack(predictions) + np.array((left, top))
        mean = points.mean(axis=0)
        return mean, float(np.sqrt(((points - mean) ** 2).sum(axis=-1).mean()) / side)

    def _predict(self, patch: Image, box: Box) -> NDArray[np.float64]:
        return np.array([(point.x, point.y) for point in self._predictor(patch, _rectangle(box)).parts()], np.float64)

    def _embedding(self, image: Image, box: Box, points: NDArray[np.float64]) -> NDArray[np.float32]:
        import dlib

        parts = [dlib.point(round(x), round(y)) for x, y in points]
        shape = dlib.full_object_detection(_rectangle(box), parts)
        vector = np.asarray(self._embedder.compute_face_descriptor(image, shape), np.float64)
        return (vector / np.linalg.norm(vector)).astype(np.float32)

    def _boxes(self, image: Image, *, side_px: int | None = None, min_score: float | None = None) -> list[tuple[Box, float]]:
        """Boxes and scores, largest first; at the settings' size and score unless given."""
        side = side_px or self.settings.detection_side_px
        first = self.settings.min_score if min_score is None else min_score
        retry, pad_px = self.settings.retry_min_score, round(self.settings.pad_share * max(image.shape[:2]))
        found = (
            self._pass(image, side_px=side, pad_px=0, min_score=first)
            or self._pass(image, side_px=2 * side, pad_px=0, min_score=retry)
            or self._pass(image, side_px=side, pad_px=pad_px, min_score=retry)
        )
        return sorted(found, key=lambda item: (item[0][0] - item[0][2]) * (item[0][3] - item[0][1]))

    def _pass(self, image: Image, *, side_px: int, pad_px: int, min_score: float) -> list[tuple[Box, float]]:
        """One run of the detector on the padded image at `side_px`; boxes in the coordinates of `image`."""
        padded = np.pad(image, ((pad_px, pad_px), (pad_px, pad_px), (0, 0))) if pad_px else image
        height, width = padded.shape[:2]
        scale = side_px / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        resized = np.asarray(PilImage.fromarray(padded).resize(size, PilImage.Resampling.BILINEAR))
        rectangles, scores, _ = self._detector.run(resized, 0, min_score)
        edges = [(r.left(), r.top(), r.right() + 1, r.bottom() + 1) for r in rectangles]
        boxes: list[Box] = [
            (x1 / scale - pad_px, y1 / scale - pad_px, x2 / scale - pad_px, y2 / scale - pad_px) for x1, y1, x2, y2 in edges
        ]
        return list(zip(boxes, map(float, scores), strict=True))

    @cached_property
    def _detector(self) -> Any:
        import dlib

        return dlib.get_frontal_face_detector()

    @cached_property
    def _predictor(self) -> Any:
        import dlib

        return dlib.shape_predictor(str(self._weights.landmarks_68))

    @cached_property
    def _embedder(self) -> Any:
        import dlib

        return dlib.face_recognition_model_v1(str(self._weights.embedding_128))


def _rectangle(box: Box) -> Any:
    import dlib

    return dlib.rectangle(*(round(edge) for edge in box))
