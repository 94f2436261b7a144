"""Likeness: how much the face in drawn frames resembles the person that was asked for, in every pose and expression alike.

Belongs here: frames and a person -> cosine similarities; those of many videos -> one likeness, by yaw and by expression. Training
judges its checkpoints by it, the release reports it. Not here: drawing (`training.held_out_videos`), which of two models is
better (`training.checkpoint_retention`).

A frame without a face has no similarity. In the mean over all frames it counts 0, what two strangers have in ArcFace's space: a
model must not gain by hiding the face where it would not be alike.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model.face_engine.interface import Face, FaceEngine, Image
from model.strict import StrictModel

YAW_EDGES_DEG = (20.0, 40.0, 60.0)
YAW_BINS = ("yaw_0_20", "yaw_20_40", "yaw_40_60", "yaw_60_90", "yaw_unknown")
"""Degrees that the drawn face is turned to either side, the lower edge included; unknown where the engine tells no pose."""
EXPRESSION_BINS = ("expression_kept", "expression_changed", "expression_unknown")
"""Against the picture that was given; unknown where the engine measures none, as beyond 45 degrees of yaw."""
CHANGED_EXPRESSION = 0.05
"""Share of the face's height by which eyes, brows, the mouth's width or its opening differ at least. A still head that is turned
by up to 45 degrees differs by 0.045 at most (dlib on the test data's `derived_yaw_sweep_pm60`); of five filmed grimaces
(`liveportrait_d*`) the median frame differs by 0.05 to 0.17."""


@dataclass(frozen=True)
class MeasuredFace:
    """The largest face of a drawn frame."""

    similarity: float
    """Cosine to the person's reference embedding."""
    yaw_deg: float | None
    """None where the engine tells no pose."""
    expression_change: float | None
    """The largest difference to the given picture, in shares of the face's height; None where one of the two is not measured."""


@dataclass(frozen=True)
class MeasuredVideo:
    """A drawn video, frame by frame; None where a frame shows no face."""

    faces: tuple[MeasuredFace | None, ...]
    subject: str
    """Hash of whom it shall show, of the given picture and of the engine."""


class Bin(StrictModel):
    """Frames of some poses, or of some expressions."""

    frames: int
    similarity: float | None
    """Mean over them; None where there are none."""


class Likeness(StrictModel):
    """Likeness over all videos that a model drew of held-out persons. The frames of the bins and those without a face are all."""

    frames: int
    """Drawn ones; a first frame that was given is none."""
    frames_without_face: int
    mean: float | None
    """Over all frames, one without a face counting 0; None where no frame shows a face, or none was drawn."""
    by_yaw: dict[str, Bin]
    by_expression: dict[str, Bin]
    subjects: str
    """Hash of whom the videos shall show and of what measured them: only likenesses that agree in it are compared."""

    def figures(self) -> dict[str, float | None]:
        """The figures under the names in tables and MLflow; None where one could not be measured."""
        bins = {f"likeness_{name}": found.similarity for name, found in (self.by_yaw | self.by_expression).items()}
        shown = self.frames - self.frames_without_face
        return {"likeness": self.mean, "face_found_share": shown / self.frames if self.frames else None, **bins}


def measure_video(frames: NDArray[np.uint8], reference: NDArray[np.float32], given: Image, engine: FaceEngine) -> MeasuredVideo:
    """The largest face of each frame, in the engine's own space.

    Args:
        frames: (T, H, W, 3), without a first frame that the model was given.
        reference: (E,) of the person, by the same engine.
        given: the picture (H, W, 3) that the model was shown of the person.

    Raises:
        ValueError: the reference is as wide as no embedding of this engine.
    """
    if len(reference) != engine.info.embedding_dim:
        raise ValueError(
            f"a reference of {len(reference)} numbers is none of {engine.info.name}'s, which have {engine.info.embedding_dim}"
        )
    shown = main_face(engine.detect(given))
    faces = [main_face(engine.detect(frame)) for frame in frames]
    facts = (engine.info.fingerprint.encode(), np.ascontiguousarray(reference).tobytes(), np.ascontiguousarray(given).tobytes())
    return MeasuredVideo(
        faces=tuple(None if face is None else _measured(face, reference, shown) for face in faces),
        subject=hashlib.sha256(b"|".join(facts)).hexdigest(),
    )


def likeness_of(videos: Sequence[MeasuredVideo]) -> Likeness:
    """All frames of `videos` taken together."""
    frames = [face for video in videos for face in video.faces]
    faces = [face for face in frames if face is not None]
    return Likeness(
        frames=len(frames),
        frames_without_face=len(frames) - len(faces),
        mean=sum(face.similarity for face in faces) / len(frames) if faces else None,
        by_yaw=_bins(faces, YAW_BINS, lambda face: yaw_bin(face.yaw_deg)),
        by_expression=_bins(faces, EXPRESSION_BINS, lambda face: expression_bin(face.expression_change)),
        subjects=hashlib.sha256("|".join(video.subject for video in videos).encode()).hexdigest(),
    )


def _bins(faces: Sequence[MeasuredFace], names: Sequence[str], bin_of: Callable[[MeasuredFace], str]) -> dict[str, Bin]:
    inside: dict[str, list[float]] = {name: [] for name in names}
    for face in faces:
        inside[bin_of(face)].append(face.similarity)
    return {name: Bin(frames=len(them), similarity=float(np.mean(them)) if them else None) for name, them in inside.items()}


def yaw_bin(yaw_deg: float | None) -> str:
    """The one of `YAW_BINS` for a face that is turned so far to either side; None: nobody knows."""
    return YAW_BINS[-1] if yaw_deg is None else YAW_BINS[bisect_right(YAW_EDGES_DEG, abs(yaw_deg))]


def expression_bin(change: float | None) -> str:
    """The one of `EXPRESSION_BINS` for a face that differs so much from the given one; None: nobody knows."""
    kept, changed, unknown = EXPRESSION_BINS
    if change is None:
        return unknown
    return changed if change >= CHANGED_EXPRESSION else kept


def expression_change(face: Face, given: Face | None) -> float | None:
    """The largest difference between two faces in `expression_shares`; None where one of the two is not measured."""
    own, known = expression_shares(face), None if given is None else expression_shares(given)
    return None if own is None or known is None else float(np.abs(own - known).max())


def expression_shares(face: Face) -> NDArray[np.float64] | None:
    """(4,) eye opening, brow height, mouth width and mouth opening in shares of the face's height; None where the engine did not
    measure them."""
    if face.expression is None or face.mouth_opening is None:
        return None
    return np.array([*face.expression, face.mouth_opening])


def cosine(embedding: ArrayLike, reference: ArrayLike) -> float:
    """Cosine of two embeddings of one engine, in [-1, 1]."""
    a, b = np.asarray(embedding, np.float64), np.asarray(reference, np.float64)
    return float(np.clip(np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)), -1, 1))


def main_face(faces: Sequence[Face]) -> Face | None:
    """The largest; None, too, where the engine cannot embed it: whom it shows is not known then."""
    if not faces or faces[0].embedding is None or not np.linalg.norm(faces[0].embedding) > 0:  # NaN is none either
        return None
    return faces[0]


def _measured(face: Face, reference: NDArray[np.float32], given: Face | None) -> MeasuredFace:
    assert face.embedding is not None
    return MeasuredFace(
        similarity=cosine(face.embedding, reference),
        yaw_deg=None if face.angles is None else face.angles.yaw_deg,
        expression_change=expression_change(face, given),
    )
