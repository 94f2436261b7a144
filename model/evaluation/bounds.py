"""What similarity means: how alike strangers are to an engine, and how alike one person is to itself, bin by bin.

Belongs here: galleries -> floor and ceiling. Not here: measuring drawn faces, and what a similarity is worth between the two
(`similarity`).

A gallery picture takes the place of a drawn frame: it falls into the bins of its own pose, and of its own change of expression
against the first picture of its person, and it is compared with the picture that a drawn face would be compared with
(`gallery`). Of the same person that is a picture of another clip, where there is one; of every other person it is one picture.
"""

from collections.abc import Sequence

import numpy as np

from model.evaluation.bench import BinBounds, GalleryFace, Person
from model.evaluation.gallery import nearest_picture, rotation_of
from model.likeness import EXPRESSION_BINS, YAW_BINS, cosine, expression_bin, yaw_bin


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
