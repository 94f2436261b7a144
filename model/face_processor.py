"""From a picture to the one face that conditions a video: chosen, cut to head and shoulders, with its identity.

Belongs here: the choice among faces, its errors, and the crop that training and inference share. Not here: detection and
embedding (`face_engine`), encoding the crop (`encoders`).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from model.face_engine.interface import Box, Face, FaceEngine, Image

FaceChoice = Literal["only", "largest"] | int
"""Which of the faces: the only one there is, the largest, or a number counted from 0, largest first."""

# Of the detector's box, which reaches from brows to chin: hair above, shoulders below, as in CoFE's figure.
_SIDE_OF_BOX = 2.4
_ABOVE_BOX = 0.6
_WHITE = 255


class FaceError(ValueError):
    """The picture does not hold the face that was asked for; the message names the remedy."""


@dataclass(frozen=True, eq=False)
class ReferenceFace:
    """The face that conditions a video.

    Attributes:
        crop: (S, S, 3) uint8 RGB, head and shoulders, white where it reaches beyond the picture.
        embedding: (E,) float32 of unit length.
        box_xyxy_px: the face's box in the picture.
    """

    crop: Image
    embedding: NDArray[np.float32]
    box_xyxy_px: Box


def process_face(image: Image, engine: FaceEngine, choose: FaceChoice = "only") -> ReferenceFace:
    """Finds, chooses, crops and identifies a face in `image` (H, W, 3) uint8 RGB.

    Raises:
        FaceError: there is no face, there are several and none was chosen, or fewer than the number asked for.
    """
    face = _choose(engine.detect(image), choose, engine.info.name)
    if face.embedding is None:
        raise FaceError(f"{engine.info.name} gave no identity embedding for the face: use an engine that does")
    crop = head_and_shoulders(image, face.box_xyxy_px)
    return ReferenceFace(crop=crop, embedding=face.embedding, box_xyxy_px=face.box_xyxy_px)


def head_and_shoulders(image: Image, box: Box) -> Image:
    """A square around head and shoulders of the face in `box`, at the picture's own scale, white beyond its edges."""
    x1, y1, x2, y2 = box
    face_side = max(x2 - x1, y2 - y1)
    side = max(1, round(_SIDE_OF_BOX * face_side))
    left = round((x1 + x2 - side) / 2)
    top = round(y1 - _ABOVE_BOX * face_side)
    crop = np.full((side, side, 3), _WHITE, dtype=np.uint8)
    height, width = image.shape[:2]
    rows = slice(max(top, 0), min(top + side, height))
    columns = slice(max(left, 0), min(left + side, width))
    crop[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = image[rows, columns]
    return crop


def _choose(faces: list[Face], choose: FaceChoice, engine: str) -> Face:
    if not faces:
        raise FaceError(f"no face found by {engine}: give a sharp picture in which the face is larger and turned to the camera")
    if choose == "only" and len(faces) > 1:
        raise FaceError(f'{len(faces)} faces found: crop the picture, or choose "largest" or a number from 0 (the largest)')
    index = choose if isinstance(choose, int) else 0
    if not 0 <= index < len(faces):
        raise FaceError(f"there is no face number {index}: {len(faces)} found, numbered from 0 (the largest)")
    return faces[index]
