"""What similarity means: how alike strangers are to an engine, and how alike one person is to itself, bin by bin.

Belongs here: galleries -> floor and ceiling, and which picture of a gallery a face is compared with. Not here: measuring drawn
faces, and what a similarity is worth between the two (`similarity`).

A gallery picture takes the place of a drawn frame: it falls into the bins of its own pose, and of its own change of expression
against the first picture of its person, and it is compared with the picture that a drawn face would be compared with. Of the same
person that is a picture of another clip, where there is one; of every other person it is one picture.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model.evaluation.bench import BinBounds, GalleryFace, Person
from model.face_engine.rotations import geodesic_deg, rotation_from_angles
from model.likeness import EXPRESSION_BINS, YAW_BINS, cosine, expression_bin, yaw_bin

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


def bounds_of(persons: Sequence[Person], strangers: Sequence[Person] = ()) -> dict[str, BinBounds]:
    """Every yaw bin and expression bin of `model.likeness`, also those without pairs. Persons are compared with each other and
    with strangers, whose own likeness is not asked."""
    names = (*YAW_BINS, *EXPRESSION_BINS)
    apart: dict[str, list[float]] = {name: [] for name in names}
    same: dict[str, list[float]] = {name: [] for name in names}
    for person in persons:
        for face in person.gallery:
            bins = (yaw_bin(face.yaw_deg), expression_bin(_change(face, person.gallery[0])))
            others = [other.gallery for other in (*persons, *strangers) if other.identity_id != person.identity_id]
            for pairs, galleries in ((same, _own(person, face)), (apart, others)):
                for gallery in galleries:
                    index, _ = nearest_picture(gallery, rotation_of(face), face.expression)
                    for name in bins:
                        pairs[name].append(cosine(face.embedding, gallery[index].embedding))
    return {
        name: BinBounds(
            stranger_floor=_mean(apart[name]),
            same_person_ceiling=_mean(same[name]),
            stranger_pairs=len(apart[name]),
            same_person_pairs=len(same[name]),
        )
        for name in names
    }


def _own(person: Person, face: GalleryFace) -> list[list[GalleryFace]]:
    """The person's pictures of other clips, as one gallery; of a person with one clip those of other times; none where there are
    neither."""
    of_other_clips = [other for other in person.gallery if other.clip_id != face.clip_id]
    at_other_times = [other for other in person.gallery if other.clip_id == face.clip_id and other.pts != face.pts]
    return [others] if (others := of_other_clips or at_other_times) else []


def _change(face: GalleryFace, given: GalleryFace) -> float | None:
    if face.expression is None or given.expression is None:
        return None
    return float(np.abs(np.subtract(face.expression, given.expression)).max())


def _mean(cosines: Sequence[float]) -> float | None:
    return float(np.mean(cosines)) if cosines else None
