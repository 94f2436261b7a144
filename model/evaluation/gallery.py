"""Which picture of a gallery a face is compared with: that at its pose and expression.

Belongs here: the choice, shared by whoever measures drawn faces and whoever measures what their similarity means. Not here:
either (`similarity`, `bounds`).
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model.evaluation.bench import GalleryFace
from model.face_engine.rotations import geodesic_deg, rotation_from_angles

ABOUT_AS_NEAR_DEG: Final = 5.0
"""Poses closer than that are one: head poses err by about as much."""


def nearest_picture(
    gallery: Sequence[GalleryFace], rotation: ArrayLike | None, expression: ArrayLike | None
) -> tuple[int, float | None]:
    """Index of the picture that is nearest in pose, of those about as near the one nearest in expression; and its gap in degrees.

    The first picture, which is sharp and frontal, and no gap, where the face's pose is not known, or that of no picture.

    Args:
        rotation: (3, 3) of the face; None: not known.
        expression: (4,) as `GalleryFace.expression`; None: not known.
    """
    posed = [(index, own) for index, face in enumerate(gallery) if (own := rotation_of(face)) is not None]
    if rotation is None or not posed:
        return 0, None
    gaps = geodesic_deg(np.stack([own for _, own in posed]), rotation)

    def differs(index: int) -> float:
        own = gallery[index].expression
        return np.inf if own is None or expression is None else float(np.abs(np.subtract(own, expression)).max())

    about_as_near = np.flatnonzero(gaps <= gaps.min() + ABOUT_AS_NEAR_DEG)
    best = min(about_as_near, key=lambda at: (differs(posed[at][0]), gaps[at]))
    return posed[best][0], float(gaps[best])


def rotation_of(face: GalleryFace) -> NDArray[np.float64] | None:
    """(3, 3); None where the picture's pose was not measured."""
    if face.yaw_deg is None or face.pitch_deg is None or face.roll_deg is None:
        return None
    return rotation_from_angles(face.yaw_deg, face.pitch_deg, face.roll_deg)
