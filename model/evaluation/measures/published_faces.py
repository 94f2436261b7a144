"""How ConsisID and OpenS2V-Eval find and cut the main face of a picture; both do it alike.

Belongs here: the search with its second try, and the aligned crop. Not here: what is computed of it (`facesim`, `fid`), the
engine of our own measures.

Read from PKU-YuanGroup/ConsisID, eval/get_facesim_fid.py, and PKU-YuanGroup/OpenS2V-Nexus, eval/get_facesim.py (2026-11-29):
insightface's default pack (buffalo_l) at an input of 320 x 320; the largest box; where there is none, once more with a border of
a quarter of each side in grey 128. The crop of 224 px is cut from the picture without that border.
"""

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.face_engine.crops import norm_crop
from model.face_engine.interface import Box, Image

DETECTION_SIDE_PX: Final = 320
CROP_SIDE_PX: Final = 224
_MIN_SCORE: Final = 0.5
_BORDER_SHARE: Final = 0.25
_GREY: Final = 128

Vector = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class FoundFace:
    """A detector's answer. `points_px`: (5, 2) eyes, nose, mouth corners."""

    box_xyxy_px: Box
    points_px: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class AlignedFace:
    """The main face of a picture.

    Attributes:
        crop: (224, 224, 3) RGB, turned and scaled so that the five points lie where ArcFace wants them.
        arcface: (D,) embedding.
    """

    crop: Image
    arcface: Vector


class FaceFinder:
    """SCRFD and ArcFace, as `FaceAnalysis.get` of insightface runs them.

    Args:
        detector: insightface's SCRFD.
        embedder: insightface's ArcFaceONNX.
    """

    def __init__(self, detector: Any, embedder: Any) -> None:
        self._detector = detector
        self._embedder = embedder

    def detect(self, image_rgb: Image) -> list[FoundFace]:
        bgr = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR)
        boxes, points = self._detector.detect(bgr, input_size=(DETECTION_SIDE_PX,) * 2, det_thresh=_MIN_SCORE)
        return [
            FoundFace((float(x1), float(y1), float(x2), float(y2)), np.asarray(five, np.float32))
            for (x1, y1, x2, y2, _), five in zip(boxes, points, strict=True)
        ]

    def embed(self, image_rgb: Image, points_px: NDArray[np.float32]) -> Vector:
        """(D,) of the face at those points; of any length."""
        crop = norm_crop(image_rgb, points_px, self._embedder.input_size[0])
        return np.asarray(self._embedder.get_feat(cv2.cvtColor(crop, cv2.COLOR_RGB2BGR)), np.float32).ravel()


def aligned_face(image_rgb: Image, finder: FaceFinder) -> AlignedFace | None:
    """None where neither the picture nor the picture with a border shows a face."""
    searched, shift = image_rgb, np.zeros(2, np.float32)
    found = finder.detect(searched)
    if not found:
        down, right = (int(side * _BORDER_SHARE) for side in image_rgb.shape[:2])
        searched = np.pad(image_rgb, ((down, down), (right, right), (0, 0)), constant_values=_GREY)
        shift = np.array([right, down], np.float32)
        found = finder.detect(searched)
    if not found:
        return None
    face = max(reversed(found), key=lambda one: _area(one.box_xyxy_px))
    return AlignedFace(
        crop=norm_crop(image_rgb, face.points_px - shift, CROP_SIDE_PX), arcface=finder.embed(searched, face.points_px)
    )


def _area(box: Box) -> float:
    x1, y1, x2, y2 = box
    return (x2 - x1) * (y2 - y1)
