"""From a picture to the one face that conditions a video: chosen, cut out on white, aligned, with its pose and identity.

Belongs here: the choice among faces, its errors, and the crop that training and inference share. Not here: detection and
embedding (`face_engine`), what separates the head from its background (`head_mask`), encoding the crop (`encoders`).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from model.encoding.head_mask import CropFrame, HeadMask
from model.face_engine.five_points import five_points
from model.face_engine.interface import Box, Face, FaceEngine, Image
from model.face_engine.rotations import Angles

FaceChoice = Literal["only", "largest"] | int
"""Which of the faces: the only one there is, the largest, or a number counted from 0, largest first."""

Points = NDArray[np.float32]
"""(L, 2), x and y in pixels of the picture."""

ALIGNED_SIDE_PX = 112

# Of the detector's box, which reaches from brows to chin: hair above, shoulders below, as in CoFE's figure.
_SIDE_OF_BOX = 2.4
_ABOVE_BOX = 0.6
_WHITE = 255

# Where InsightFace's `norm_crop` puts eyes, nose and mouth corners at 112 px: what ArcFace networks were trained on.
_ALIGNED_POINTS_PX = np.array(
    ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)), np.float64
)


class FaceError(ValueError):
    """The picture does not hold the face that was asked for; the message names the remedy."""


class PoseUnknown(FaceError):
    """The face is there, but not its pose, which the model needs."""


@dataclass(frozen=True, eq=False)
class ReferenceFace:
    """The face that conditions a video.

    Attributes:
        crop: (S, S, 3) uint8 RGB, head and shoulders on white.
        embedding: (E,) float32 of unit length.
        box_xyxy_px: the face's box in the picture.
        aligned: (112, 112, 3) uint8 RGB, eyes, nose and mouth where ArcFace networks expect them; None where the engine gives
            no landmarks.
        angles: yaw, pitch and roll in degrees; None where the engine gives no reliable pose.
    """

    crop: Image
    embedding: NDArray[np.float32]
    box_xyxy_px: Box
    aligned: Image | None
    angles: Angles | None


def process_face(image: Image, engine: FaceEngine, mask: HeadMask, choose: FaceChoice = "only") -> ReferenceFace:
    """Finds, chooses, cuts out and identifies a face in `image` (H, W, 3) uint8 RGB.

    Args:
        mask: what cuts head and shoulders out, as in training.

    Raises:
        FaceError: there is no face, there are several and none was chosen, or fewer than the number asked for.
    """
    face = _choose(engine.detect(image), choose, engine.info.name)
    if face.embedding is None:
        raise FaceError(f"{engine.info.name} gave no identity embedding for the face: use an engine that does")
    return ReferenceFace(
        crop=head_and_shoulders(image, face.box_xyxy_px, mask, face.landmarks_px),
        embedding=face.embedding,
        box_xyxy_px=face.box_xyxy_px,
        aligned=align(image, face.landmarks_px),
        angles=face.angles,
    )


def head_and_shoulders(image: Image, box: Box, mask: HeadMask, landmarks_px: Points | None = None) -> Image:
    """A square around head and shoulders of the face in `box`, at the picture's own scale; white where the mask is not.

    Args:
        image: (H, W, 3) uint8 RGB.
        box: of the face; it gives the crop's size.
        mask: what is head and shoulders in the square, and how much so.
        landmarks_px: of the face (a set that `five_points` knows): the oval follows their place and tilt, without them the box.
    """
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
    opacity = mask.opacity(crop, CropFrame(left, top, box, _five(landmarks_px)))[..., None]
    return np.asarray((crop * opacity + _WHITE * (1 - opacity)).round(), np.uint8)


def align(image: Image, landmarks_px: Points) -> Image | None:
    """(112, 112, 3): the similarity transform that brings the five points to ArcFace's places (Umeyama 1991), bilinear.

    None where there are no landmarks.
    """
    points = _five(landmarks_px)
    if points is None:
        return None
    matrix = _similarity(_ALIGNED_POINTS_PX, points)  # PIL asks where each output pixel comes from
    size = (ALIGNED_SIDE_PX, ALIGNED_SIDE_PX)
    coefficients = tuple(matrix.ravel())
    warped = PilImage.fromarray(image).transform(size, PilImage.Transform.AFFINE, coefficients, PilImage.Resampling.BILINEAR)
    return np.asarray(warped)


def _five(landmarks_px: Points | None) -> NDArray[np.float64] | None:
    return five_points(landmarks_px) if landmarks_px is not None and len(landmarks_px) else None


def _similarity(source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2, 3): rotation, scale and shift that take `source` (N, 2) to `target` (N, 2) with least squares.

    As complex numbers a similarity is z -> a z + b, so this is a regression with one coefficient.
    """
    z, w = (points[:, 0] + 1j * points[:, 1] for points in (source, target))
    centred = z - z.mean()
    a = np.vdot(centred, w - w.mean()) / np.vdot(centred, centred)
    b = w.mean() - a * z.mean()
    return np.array(((a.real, -a.imag, b.real), (a.imag, a.real, b.imag)))


def _choose(faces: list[Face], choose: FaceChoice, engine: str) -> Face:
    if not faces:
        raise FaceError(f"no face found by {engine}: give a sharp picture in which the face is larger and turned to the camera")
    if choose == "only" and len(faces) > 1:
        raise FaceError(f'{len(faces)} faces found: crop the picture, or choose "largest" or a number from 0 (the largest)')
    index = choose if isinstance(choose, int) else 0
    if not 0 <= index < len(faces):
        raise FaceError(f"there is no face number {index}: {len(faces)} found, numbered from 0 (the largest)")
    return faces[index]
