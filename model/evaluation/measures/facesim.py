"""FaceSim-Arc and FaceSim-Cur as ConsisID and as OpenS2V-Eval compute them.

Belongs here: their two rules. Not here: finding faces (`published_faces`), CurricularFace (`curricular_face`), similarity by
pose, which decides between our models (`model.evaluation.similarity`).

Both take evenly spaced frames, cosines to the reference picture, and 0 for what is below. Frames without a face are left out, and
a video that has none is worth 0. They differ in two things: ConsisID looks at 16 frames and OpenS2V at 32; and OpenS2V's mean of
CurricularFace leaves out frames that are worth 0, where its mean of ArcFace, by a slip of its code, does not.

The first frame counts with both, and a model that is given it draws nothing there: compare image-to-video models by ours.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from model.evaluation.measures.published_faces import AlignedFace
from model.evaluation.measures.record import Absent, DrawnVideo

CONSISID_FRAMES, OPENS2V_FRAMES = 16, 32


def evenly_spaced(frames: int, count: int) -> list[int]:
    """Indices from the first frame to the last, rounded down; a short video's come more than once."""
    return np.linspace(0, frames - 1, count, dtype=int).tolist()


def aligned_of(video: DrawnVideo, count: int, *, without_given: bool = False) -> list[AlignedFace]:
    """The faces of `count` evenly spaced frames, without those that show none."""
    skipped = int(without_given and video.begins_given)
    frames = len(video.frames) - skipped
    if frames < 1:
        raise Absent("the video has no frames" if not skipped else "no frame was drawn beside the given one")
    found = [video.aligned(skipped + index) for index in evenly_spaced(frames, count)]
    return [face for face in found if face is not None]


def reference_of(video: DrawnVideo) -> AlignedFace:
    """The face of the reference picture."""
    if (found := video.aligned(None)) is None:
        raise Absent("the reference picture shows no face to SCRFD")
    return found


def _arcface(_: DrawnVideo, faces: list[AlignedFace]) -> NDArray[np.float32]:
    return np.stack([face.arcface for face in faces])


def _curricular(video: DrawnVideo, faces: list[AlignedFace]) -> NDArray[np.float32]:
    return video.networks.curricular(np.stack([face.crop for face in faces]))


def _facesim(
    video: DrawnVideo,
    count: int,
    embed: Callable[[DrawnVideo, list[AlignedFace]], NDArray[np.float32]],
    *,
    without_zeros: bool = False,
) -> float:
    vectors = embed(video, [reference_of(video), *aligned_of(video, count)])
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    worth = np.maximum(units[1:] @ units[0], 0.0)
    if without_zeros:
        worth = worth[worth != 0]
    return float(worth.mean()) if len(worth) else 0.0


consisid_arc = partial(_facesim, count=CONSISID_FRAMES, embed=_arcface)
consisid_cur = partial(_facesim, count=CONSISID_FRAMES, embed=_curricular)
opens2v_arc = partial(_facesim, count=OPENS2V_FRAMES, embed=_arcface)
opens2v_cur = partial(_facesim, count=OPENS2V_FRAMES, embed=_curricular, without_zeros=True)
