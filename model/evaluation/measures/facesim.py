"""FaceSim-Arc and FaceSim-Cur as ConsisID and as OpenS2V-Eval compute them.

Belongs here: their two rules. Not here: finding faces (`published_faces`), CurricularFace (`curricular_face`), similarity by
pose, which decides between our models (`model.evaluation.similarity`).

Both take evenly spaced frames, cosines to the reference picture, and 0 for what is below. Frames without a face are left out, and
a video that has none is worth 0. They differ in two things: ConsisID looks at 16 frames and OpenS2V at 32; and OpenS2V's mean of
CurricularFace leaves out frames that are worth 0, where its mean of ArcFace, by a slip of its code, does not.

The first frame counts with both, and a model that is given it draws nothing there: compare image-to-video models by ours.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from model.evaluation.measures.published_faces import AlignedFace
from model.evaluation.measures.record import Absent, Measure, PlainSight

CONSISID_FRAMES, OPENS2V_FRAMES = 16, 32
FACES, CURRICULAR = "buffalo_l", "curricularface_ir101"


def evenly_spaced(frames: int, count: int) -> list[int]:
    """Indices from the first frame to the last, rounded down; a short video's come more than once."""
    return np.linspace(0, frames - 1, count, dtype=int).tolist()


def aligned_of(sight: PlainSight, count: int, *, without_given: bool = False) -> list[AlignedFace] | Absent:
    """The faces of `count` evenly spaced frames, without those that show none."""
    skipped = int(without_given and sight.video.begins_given)
    frames = len(sight.video.frames) - skipped
    if frames < 1:
        return Absent("the video has no frames" if not skipped else "no frame was drawn beside the given one")
    found: list[AlignedFace] = []
    for index in evenly_spaced(frames, count):
        face = sight.aligned(skipped + index)
        if isinstance(face, Absent):
            return face
        if face is not None:
            found.append(face)
    return found


def reference_of(sight: PlainSight) -> AlignedFace | Absent:
    """The face of the reference picture."""
    found = sight.aligned(None)
    return Absent("the reference picture shows no face to SCRFD") if found is None else found


def _arcface(sight: PlainSight, faces: list[AlignedFace]) -> NDArray[np.float32] | Absent:
    return np.stack([face.arcface for face in faces])


def _curricular(sight: PlainSight, faces: list[AlignedFace]) -> NDArray[np.float32] | Absent:
    network = sight.networks.curricular
    return network if isinstance(network, Absent) else network(np.stack([face.crop for face in faces]))


def opens2v_scores(sight: PlainSight) -> dict[str, float | Absent]:
    """The fields of OpenS2V-Eval's `facesim.json`."""
    return {
        "cur_score": _facesim(sight, OPENS2V_FRAMES, _curricular, without_zeros=True),
        "arc_score": _facesim(sight, OPENS2V_FRAMES, _arcface, without_zeros=False),
    }


Embed = Callable[[PlainSight, list[AlignedFace]], NDArray[np.float32] | Absent]


def _facesim(sight: PlainSight, count: int, embed: Embed, *, without_zeros: bool) -> float | Absent:
    reference, drawn = reference_of(sight), aligned_of(sight, count)
    if isinstance(reference, Absent):
        return reference
    if isinstance(drawn, Absent):
        return drawn
    vectors = embed(sight, [reference, *drawn])
    if isinstance(vectors, Absent):
        return vectors
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    worth = np.maximum(units[1:] @ units[0], 0.0)
    if without_zeros:
        worth = worth[worth != 0]
    return float(worth.mean()) if len(worth) else 0.0


def _measure(
    name: str, networks: tuple[str, ...], rule: str, count: int, embed: Embed, *, without_zeros: bool = False
) -> Measure:
    def compute(sight: PlainSight) -> float | Absent:
        return _facesim(sight, count, embed, without_zeros=without_zeros)

    return Measure(name, "cosine", True, networks, rule, compute)


FACESIM = (
    _measure(
        "consisid_facesim_arc",
        (FACES,),
        "FaceSim-Arc by ConsisID's code: ArcFace, 16 frames, 0 at least, mean over those with a face.",
        CONSISID_FRAMES,
        _arcface,
    ),
    _measure(
        "consisid_facesim_cur",
        (FACES, CURRICULAR),
        "FaceSim-Cur by ConsisID's code: CurricularFace, 16 frames, 0 at least, mean over those with a face.",
        CONSISID_FRAMES,
        _curricular,
    ),
    _measure(
        "opens2v_facesim_arc",
        (FACES,),
        "FaceSim-Arc by OpenS2V-Eval's code: ArcFace, 32 frames, 0 at least, mean over those with a face.",
        OPENS2V_FRAMES,
        _arcface,
    ),
    _measure(
        "opens2v_facesim_cur",
        (FACES, CURRICULAR),
        "FaceSim-Cur by OpenS2V-Eval's code: CurricularFace, 32 frames, mean over those above 0.",
        OPENS2V_FRAMES,
        _curricular,
        without_zeros=True,
    ),
)
