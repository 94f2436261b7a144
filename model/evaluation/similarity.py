"""How like the person the drawn frames are: similarity of each frame to the gallery at its pose and expression, and its score.

Belongs here: frames and a gallery -> similarities and scores; those of a video -> `pose_binned`; those of many -> by bin. Not
here: what a bin is (`model.likeness`), measuring the bounds (`bounds`), other measures (`measures`).

No frame that the model was given may count: it is alike without any work of the model.

**Similarity** of a frame is the cosine of its main face to that picture of the gallery which is nearest to it in pose; of those
that are about as near, to the one nearest in expression. A face whose pose the engine cannot tell is compared with the gallery's
first picture, which is frontal.

**Score** is where a similarity lies between the bench's bounds of the same yaw bin: 0 is what strangers have in pictures of that
bin, 1 what the person has in other pictures of that bin. Engines' spaces and poses become comparable by it: 0.9 is a stranger to
dlib, and a person to ArcFace.

**Pose-binned similarity** of a video is the mean of its scores over the yaw bins that its case demands, and not over its frames:

- A bin is demanded where the face of the real clip was turned that far, with 5 degrees' grace.
- A frame counts in the bin it shows; one that shows a bin nobody demanded counts in the next one below. So turning too far hides
  nothing. A bin without bounds of its own borrows the next ones below.
- A demanded bin that no frame reaches counts 0; but where the face turned farther, as the next bin that it did reach. So turning
  less gains nothing, and turning more costs nothing but what it looks like.
- A frame that is turned less than every demanded bin, or whose pose is unknown, counts in the lowest, as no better than those
  that reach it.
- A frame without a face counts 0, as a stranger would, in that reached bin where it costs most: nobody knows which pose it hides.
  So hiding a frame gains nothing where another one shows its pose.
- The mean of a bin counts 1 at most: being the given picture over again makes up for nobody elsewhere.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.evaluation.bench import BinBounds, GalleryFace, Person
from model.evaluation.bounds import ABOUT_AS_NEAR_DEG, nearest_picture
from model.evaluation.statistics import Interval, bootstrap_interval
from model.face_engine.interface import Face, FaceEngine, Image
from model.likeness import (
    EXPRESSION_BINS,
    YAW_BINS,
    MeasuredFace,
    cosine,
    expression_bin,
    expression_change,
    expression_shares,
    main_face,
    yaw_bin,
)

LEAST_SPAN: Final = 0.05
"""Least distance between stranger and person; where an engine tells them apart by less, nothing is scored."""
_POSES: Final = YAW_BINS[:-1]


@dataclass(frozen=True)
class FrameFace(MeasuredFace):
    """The largest face of a drawn frame; `similarity` is to the gallery at its pose."""

    pitch_deg: float | None
    gallery_index: int
    """Index of the picture that it was compared with."""
    pose_gap_deg: float | None
    """Angle between its pose and that picture's; None where one of the two poses is unknown."""
    score: float | None
    """None where the bench has no bounds of its yaw bin."""
    mouth_opening: float | None
    embedding: tuple[float, ...]
    """An embedding of unit length, by the bench's engine."""


@dataclass(frozen=True)
class PoseBinned:
    """The pose-binned similarity of one video."""

    value: float | None
    """Mean over `by_bin`; None where there are no frames or no bounds."""
    by_bin: dict[str, float]
    """Demanded yaw bin -> score."""
    reason: str | None = None


VideoFaces = tuple[str, Sequence[FrameFace | None]]
"""The person of a drawn video, and its frames' faces without the given frame's; None where a frame shows no face."""


@dataclass(frozen=True)
class BinFigures:
    """All frames of some poses, or of some expressions; intervals over the videos' own means."""

    frames: int
    similarity: Interval
    score: Interval
    """Scores between the bounds of this bin; without a value where the bench has none."""


def measure_frames(
    frames: NDArray[np.uint8], person: Person, given: Image, engine: FaceEngine, bounds: Mapping[str, BinBounds]
) -> list[FrameFace | None]:
    """The main face of each frame; None where it shows none.

    Args:
        frames: (T, H, W, 3), without a frame that the model was given.
        person: of the bench, whose gallery the same engine has embedded.
        given: the picture (H, W, 3) that the model was shown of the person; expressions are those that differ from it.

    Raises:
        ValueError: the gallery's embeddings are as wide as none of this engine's.
    """
    width = len(person.gallery[0].embedding)
    if width != engine.info.embedding_dim:
        raise ValueError(
            f"the gallery of {person.identity_id} has embeddings of {width} numbers, those of {engine.info.name} have "
            f"{engine.info.embedding_dim}: measure with the engine of the bench"
        )
    shown = main_face(engine.detect(given))
    faces = [main_face(engine.detect(frame)) for frame in frames]
    return [None if face is None else _frame_face(face, person.gallery, shown, bounds) for face in faces]


def score(similarity: float, bounds: BinBounds | None) -> float | None:
    """0 a stranger, 1 the person; None where the bounds are missing or too close to tell them apart."""
    if bounds is None or bounds.stranger_floor is None or bounds.same_person_ceiling is None:
        return None
    span = bounds.same_person_ceiling - bounds.stranger_floor
    return (similarity - bounds.stranger_floor) / span if span >= LEAST_SPAN else None


def pose_binned(
    faces: Sequence[FrameFace | None], target_yaw_deg: Sequence[float], bounds: Mapping[str, BinBounds]
) -> PoseBinned:
    """Applies the rule above; where nobody knows the yaws of the real clip's face, a frontal one is demanded."""
    if not faces:
        return PoseBinned(None, {}, "no frame was drawn beside the given one")
    if all(score(0.0, bounds.get(name)) is None for name in YAW_BINS):
        return PoseBinned(None, {}, "the bench has no bounds of any yaw bin: they take two persons, each in two pictures")
    wanted = [max(0.0, abs(yaw) - ABOUT_AS_NEAR_DEG) for yaw in target_yaw_deg] or [0.0]
    demanded = sorted({_POSES.index(yaw_bin(yaw)) for yaw in wanted})
    shown: dict[int, list[float]] = {bin_: [] for bin_ in demanded}
    short: list[float] = []
    for face in faces:
        if face is not None:
            own = yaw_bin(face.yaw_deg)
            below = bisect_right(demanded, _POSES.index(own)) if own in _POSES else 0
            (shown[demanded[below - 1]] if below else short).append(_borrowed_score(face.similarity, own, bounds))
    reached = [bin_ for bin_ in demanded if shown[bin_]]
    stands_in = {bin_: next((other for other in reached if other >= bin_), None) for bin_ in demanded}
    if reached:
        lowest = shown[reached[0]]
        lowest += [min(worth, float(np.mean(lowest))) for worth in short]
        weight = Counter(stands_in.values())
        for _ in range(sum(face is None for face in faces)):
            shown[max(reached, key=lambda bin_: weight[bin_] * _loss(shown[bin_]))].append(0.0)
    worth_of = {bin_: min(1.0, float(np.mean(shown[bin_]))) for bin_ in reached}
    by_bin = {_POSES[bin_]: 0.0 if other is None else worth_of[other] for bin_, other in stands_in.items()}
    return PoseBinned(float(np.mean(list(by_bin.values()))), by_bin)


def _loss(scores: Sequence[float]) -> float:
    """What the scores' mean loses by one more score of 0."""
    return float(np.sum(scores)) / (len(scores) * (len(scores) + 1))


def by_bins(videos: Sequence[VideoFaces], bounds: Mapping[str, BinBounds]) -> dict[str, BinFigures]:
    """Figures of every yaw bin and expression bin, by the frames that show it; frames without a face are in none."""
    return {name: _figures(name, videos, bounds.get(name)) for name in (*YAW_BINS, *EXPRESSION_BINS)}


def faces_found_share(faces: Sequence[FrameFace | None]) -> float | None:
    """None without a frame."""
    return sum(face is not None for face in faces) / len(faces) if faces else None


def _figures(name: str, videos: Sequence[VideoFaces], bounds: BinBounds | None) -> BinFigures:
    inside = [
        (person, [face.similarity for face in faces if face is not None and name in _bins_of(face)]) for person, faces in videos
    ]
    shown = [(person, float(np.mean(of)), len(of)) for person, of in inside if of]
    persons, means = [person for person, _, _ in shown], [mean for _, mean, _ in shown]
    worth = [found for mean in means if (found := score(mean, bounds)) is not None]
    return BinFigures(
        frames=sum(count for _, _, count in shown),
        similarity=bootstrap_interval(means, persons),
        score=bootstrap_interval(worth, persons)
        if worth or not means
        else Interval(None, None, None, len(set(persons)), len(means), f"the bench has no bounds of {name}"),
    )


def _bins_of(face: FrameFace) -> tuple[str, str]:
    return yaw_bin(face.yaw_deg), expression_bin(face.expression_change)


def _frame_face(face: Face, gallery: Sequence[GalleryFace], given: Face | None, bounds: Mapping[str, BinBounds]) -> FrameFace:
    assert face.embedding is not None
    index, gap = nearest_picture(gallery, face.rotation, expression_shares(face))
    similarity = cosine(face.embedding, gallery[index].embedding)
    yaw = None if face.angles is None else face.angles.yaw_deg
    return FrameFace(
        similarity=similarity,
        yaw_deg=yaw,
        expression_change=expression_change(face, given),
        pitch_deg=None if face.angles is None else face.angles.pitch_deg,
        gallery_index=index,
        pose_gap_deg=gap,
        score=score(similarity, bounds.get(yaw_bin(yaw))),
        mouth_opening=face.mouth_opening,
        embedding=tuple(face.embedding.tolist()),
    )


def _borrowed_score(similarity: float, own: str, bounds: Mapping[str, BinBounds]) -> float:
    """The score by the bounds of its own bin, else of the next less turned one that has them, else the next more turned one."""
    at = YAW_BINS.index(own)
    by_nearness = [*reversed(YAW_BINS[: at + 1]), *YAW_BINS[at + 1 :]]
    return next(found for name in by_nearness if (found := score(similarity, bounds.get(name))) is not None)
