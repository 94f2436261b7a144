"""What every face engine gives: the records and the protocol.

Belongs here: the types that the assets store and the model reads. Not here: any engine or weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from model.face_engine.rotations import Angles, angles_from_rotation

Image = NDArray[np.uint8]
"""(H, W, 3) RGB."""
MOUTH_MODELS = ("dlib", "face_mesh", "2d106")
"""Every landmark model that measures a mouth."""
Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels of the image; can reach beyond it where the face does."""


class Expression(NamedTuple):
    """What a face does with eyes, brows and mouth corners: shares of its height (nasion to chin), in the head's frame.

    Landmark models differ in how far they follow a movement, so only values of one engine are compared.

    Attributes:
        eye_opening: between the lids, mean of both eyes.
        brow_height: of the brows above the corners of the eyes.
        mouth_width: between the corners of the mouth.
    """

    eye_opening: float
    brow_height: float
    mouth_width: float


@dataclass(frozen=True, eq=False)
class Face:
    """One face in one image. What could not be measured is None.

    Attributes:
        box_xyxy_px: the detector's own box, not clipped to the image.
        score: the detector's confidence on its own scale; None where a box was given instead of detected.
        landmarks_px: (L, 2) float32, x and y in pixels of the image.
        rotation: (3, 3) float32, as `rotations` defines it; None where the engine gives no reliable pose.
        embedding: (D,) float32 of unit length; None where it was not asked for.
        mouth_opening: inner-lip gap over face height, both in the head's frame (0 closed, about 0.3 wide open); None
            without pose.
        expression: None without pose, and where the engine has no landmarks of lids, brows and mouth.
    """

    box_xyxy_px: Box
    score: float | None
    landmarks_px: NDArray[np.float32]
    rotation: NDArray[np.float32] | None = None
    embedding: NDArray[np.float32] | None = None
    mouth_opening: float | None = None
    expression: Expression | None = None

    @property
    def angles(self) -> Angles | None:
        """Yaw, pitch and roll in degrees; None without pose."""
        return None if self.rotation is None else angles_from_rotation(self.rotation)

    @property
    def area_px(self) -> float:
        """Area of the box."""
        x1, y1, x2, y2 = self.box_xyxy_px
        return (x2 - x1) * (y2 - y1)


@dataclass(frozen=True)
class EngineInfo:
    """What is recorded with every measurement of an engine.

    Attributes:
        name: "dlib", "insightface", ...
        version: of the packages that ran.
        embedding_dim: D; embeddings of different engines are never compared.
        licence: the strictest licence of the weights.
        fingerprint: hash over weights, code version and settings; two equal ones give equal faces.
        mouth: what finds the lips (one of `MOUTH_MODELS`), whose openings are compared among themselves alone; None for nothing.
    """

    name: str
    version: str
    embedding_dim: int
    licence: str
    fingerprint: str
    mouth: str | None = None


class FaceEngine(Protocol):
    """Detection, landmarks, head pose and identity. Deterministic; one instance serves one thread.

    Every method raises a ValueError where an image is not (H, W, 3) uint8, or a box lies outside it.
    """

    @property
    def info(self) -> EngineInfo: ...

    def detect(self, image_rgb: Image, *, embed: bool = True) -> list[Face]:
        """All faces of the image, largest box first; without embeddings (much cheaper) when `embed` is False."""
        ...

    def detect_many(self, images_rgb: Sequence[Image], *, embed: bool = True) -> list[list[Face]]:
        """`detect` for each image in turn; on a GPU the crops of all of them go through each network as one batch."""
        ...

    def glance(self, image_rgb: Image, *, side_px: int) -> list[Face]:
        """The cheap question: boxes, scores and five landmarks (left eye, right eye, nose, left and right mouth corner, left
        and right in the image) from an input of `side_px`; neither pose nor embedding, and low scores are reported too."""
        ...

    def landmarks(self, image_rgb: Image, box: Box | None = None) -> Face | None:
        """Landmarks, pose and mouth of one face, never its embedding: the cheap path for dense tracking.

        `box` is one that this engine drew around the face in this or a neighbouring frame: nothing is detected then.
        Without it the largest detected face is taken; None where there is none.
        """
        ...


class HeadPose(Protocol):
    """Head pose from a frame and the boxes in it. Deterministic; one instance serves one thread."""

    @property
    def name(self) -> str: ...

    @property
    def licence(self) -> str: ...

    @property
    def fingerprint(self) -> str:
        """Hash over weights, code version and crop settings."""
        ...

    def rotations(self, images_rgb: Sequence[Image], boxes: Sequence[Box]) -> list[NDArray[np.float32] | None]:
        """A (3, 3) rotation, as `rotations` defines it, for each (image, box) pair; None where there is nothing to measure."""
        ...


def checked_image(image_rgb: Image) -> Image:
    """The image, as engines take it.

    Raises:
        ValueError: it is not (H, W, 3) uint8.
    """
    if image_rgb.dtype != np.uint8 or image_rgb.ndim != 3 or image_rgb.shape[2] != 3:
        raise ValueError(f"an image is (H, W, 3) uint8 RGB, not {image_rgb.shape} {image_rgb.dtype}")
    return np.ascontiguousarray(image_rgb)
