"""Drawing persons that no training saw, and judging what was drawn: the columns of `benchmarks.ablation`.

Belongs here: the drawing, the judge's similarity by pose gap, swap tests, experts withheld, features that the photo hides. Not
here: training (`head_training`), the judge itself (`head_judge`), means over seeds (`ablation_table`).
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from benchmarks.head_base import PATCH, SHIFT, Velocity, plain
from benchmarks.head_clips import HeadClips, decode, portraits, spread_views, text_rows
from benchmarks.head_judge import Recogniser
from benchmarks.head_training import Trained
from benchmarks.heads import MARK_TRAITS, TRAITS, marks_hidden, marks_shown, teeth_hidden, teeth_shown
from model.bases.base import Base
from model.bases.flow import TIMESTEPS, generator, shift_sigma
from model.encoding.face_features import FaceFeatures
from model.face_branch.experts import EXPERTS
from model.face_branch.references import References

GAPS_DEG = ((0, 30), (30, 60), (60, 150))
"""Pose gaps between the photo and a frame in which similarity is reported; the last one is far."""
_SAMPLING_STEPS = 6
_PORTRAITS = 8
_CURVE_PERSONS = 48
_LEAST_FRAMES = 10


@dataclass(frozen=True)
class Score:
    """What one training of one variant came to, on persons unseen in training; None where it cannot be asked.

    Similarities are mean cosines of the judge's embeddings of frames with that of the person; hidden and seen features are
    correlations over frames of what the judge reads with the truth.
    """

    similarity: float
    by_gap: list[float]
    """In the order of `GAPS_DEG`."""
    swap_photo: float | None
    """The photo is another person's."""
    swap_views: float | None
    """The references are another person's."""
    swap_none: float | None
    """Neither photo nor references: the null tokens."""
    withheld: dict[str, float]
    """An expert's features are the mean over the training clips."""
    hidden: float | None
    """Colours of marks that the frame shows and the photo hides."""
    hidden_teeth: float | None
    """Colour of teeth that the frame shows and the photo hides."""
    seen: float | None
    """Colours of marks that both show."""
    curve: list[tuple[int, float]]
    """Similarity after so many steps, on a part of the persons; the last one after all."""
    loss: float
    adapter_parameters: int
    train_s: float
    """CPU seconds of training alone."""


class Judge:
    """Scores of one set of persons."""

    def __init__(self, network: Recogniser, clips: HeadClips) -> None:
        self.network, self.clips = network, clips
        images = portraits(clips.identities.numpy(), _PORTRAITS, seed=0)
        known = network.embed(images.reshape(-1, *images.shape[2:])).unflatten(0, images.shape[:2])
        self._known = F.normalize(known.mean(dim=1), dim=-1)
        self._gap_deg = (clips.yaw_deg - clips.view_angles_deg[:, :1, 0]).abs().numpy()

    def traits(self, frames: NDArray[np.uint8]) -> torch.Tensor:
        """(N, T, H, W, 3) to (N, T, 18)."""
        return self.network.traits(frames.reshape(-1, *frames.shape[2:])).unflatten(0, frames.shape[:2])

    def similarity(self, traits: torch.Tensor) -> NDArray[np.float32]:
        """(n, T) of each frame of the first n persons with its person."""
        return (F.normalize(traits, dim=-1) * self._known[: len(traits), None]).sum(dim=-1).numpy()

    def by_gap(self, similarity: NDArray[np.float32]) -> list[float]:
        """Mean similarity in each range of `GAPS_DEG`."""
        return gap_means(similarity, self._gap_deg)

    def features(self, traits: torch.Tensor) -> dict[str, float | None]:
        """`hidden`, `hidden_teeth` and `seen` of `Score`, from the traits of all persons' frames."""
        read, clips = traits.numpy(), self.clips
        true = np.broadcast_to(clips.identities.numpy()[:, None], read.shape)
        shown = marks_shown(clips.yaw_deg.numpy())  # (N, T, 2)
        photo_yaw = clips.view_angles_deg[:, :1, 0].numpy()
        mouths, photo_mouth = clips.expressions.numpy(), clips.view_expressions[:, :1].numpy()
        teeth = TRAITS.index("teeth")
        bare = teeth_shown(mouths) & teeth_hidden(photo_mouth)
        return {
            "hidden": _marks(read, true, shown & marks_hidden(photo_yaw)),
            "hidden_teeth": _correlation(read[..., teeth][bare], true[..., teeth][bare]),
            "seen": _marks(read, true, shown & marks_shown(photo_yaw)),
        }


class Drawing:
    """Everyone of a set drawn by one trained variant, from his photo and views or what takes their place."""

    def __init__(self, trained: Trained, clips: HeadClips, seed: int) -> None:
        self.trained, self.clips, self.seed = trained, clips, seed
        self.photo = clips.photo()
        self.views: torch.Tensor | None = None
        fusion, spread = trained.variant.fusion, trained.variant.spread
        if fusion is not None and fusion.references is not None and spread is not None:
            shown = spread_views(clips, spread, fusion.references.views)[:, 0]
            self.views = clips.view_latents[torch.arange(len(shown))[:, None], shown]
            self._config = fusion.references

    def frames(
        self,
        face: FaceFeatures | None = None,
        views: torch.Tensor | None = None,
        nobody: bool = False,
        persons: int | None = None,
    ) -> NDArray[np.uint8]:
        """(n, T, H, W, 3) of the first `persons` (default: all), from their own photo and views where no others are given."""
        rows = slice(persons)
        text = self.clips.text[rows]
        told = self.trained.told(FaceFeatures(*(part[rows] for part in face or self.photo)))
        shown = self.views if views is None else views
        keep = torch.zeros(len(text), dtype=torch.bool) if nobody else None

        def predict(noisy: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
            references = None if shown is None else self._references(shown[rows], sigma[0], nobody)
            return self.trained.velocity(noisy, sigma, text, told, keep, references)

        self.trained.base.transformer.eval()
        drawn = draw(predict, self.clips, self.seed, rows)
        self.trained.base.transformer.train()
        return drawn

    def _references(self, views: torch.Tensor, sigma: torch.Tensor, nobody: bool) -> References:
        """As dense as in training, other tokens at every step."""
        references = References(views).at_step(TIMESTEPS * float(sigma), self._config.masked_share, PATCH)
        return references.null() if nobody else references


@torch.no_grad()
def draw(predict: Velocity, clips: HeadClips, seed: int, rows: slice) -> NDArray[np.uint8]:
    """(n, T, H, W, 3) from noise of this seed; the noise of a row is the same whatever is drawn."""
    video = torch.randn(clips.latents.shape, generator=generator(seed, "sampling", 0))[rows]
    for now, then in pairwise(shift_sigma(torch.linspace(1, 0, _SAMPLING_STEPS + 1), SHIFT)):
        video = video + (then - now) * predict(video, now.expand(len(video)))
    return decode(video)


def words_alone(base: Base, judge: Judge) -> NDArray[np.uint8]:
    """What the untouched base draws of a text that tells every trait of the person: what it can be brought to at most."""
    clips = judge.clips
    text = text_rows(clips.yaw_deg, clips.expressions, clips.identities)
    return draw(lambda noisy, sigma: plain(base.transformer, noisy, sigma, text), clips, 0, slice(None))


def curve_point(trained: Trained, judge: Judge, seed: int) -> float:
    """Similarity on the persons that curves are drawn of."""
    frames = Drawing(trained, judge.clips, seed).frames(persons=_CURVE_PERSONS)
    return float(judge.similarity(judge.traits(frames)).mean())


def score_of(
    trained: Trained, judge: Judge, train: HeadClips, seed: int, curve: list[tuple[int, float]], loss: float, train_s: float
) -> Score:
    """Every column of one trained variant; `curve` and the rest are what its training came to."""
    drawing = Drawing(trained, judge.clips, seed)
    traits = judge.traits(drawing.frames())
    similarity = judge.similarity(traits)
    has_face, has_views = trained.model is not None, drawing.views is not None

    def mean(**given: object) -> float:
        return float(judge.similarity(judge.traits(drawing.frames(**given))).mean())

    other = FaceFeatures(*(part.roll(1, 0) for part in drawing.photo))
    return Score(
        similarity=float(similarity.mean()),
        by_gap=judge.by_gap(similarity),
        swap_photo=mean(face=other) if has_face else None,
        swap_views=mean(views=drawing.views.roll(1, 0)) if has_views and drawing.views is not None else None,
        swap_none=mean(nobody=True) if has_face else None,
        withheld={name: mean(face=_without(drawing.photo, train, name)) for name in EXPERTS} if has_face else {},
        **judge.features(traits),
        curve=curve,
        loss=loss,
        adapter_parameters=trained.adapter_parameters,
        train_s=train_s,
    )


def gap_means(similarity: NDArray[np.float32], gap_deg: NDArray[np.float32]) -> list[float]:
    """Mean similarity in each range of `GAPS_DEG`."""
    return [float(similarity[(gap_deg >= low) & (gap_deg < high)].mean()) for low, high in GAPS_DEG]


def _without(photo: FaceFeatures, train: HeadClips, expert: str) -> FaceFeatures:
    """The photos as though `expert` had nothing to say of anybody: its mean over the training clips."""
    mean = getattr(train.photo(), expert).mean(dim=0)
    return photo._replace(**{expert: mean.expand_as(getattr(photo, expert))})


def _marks(read: NDArray[np.float32], true: NDArray[np.float32], which: NDArray[np.bool_]) -> float | None:
    """Mean correlation over the marks' colours, of the frames (N, T, 2) that count for the left and the right mark."""
    columns = [TRAITS.index(name) for name in MARK_TRAITS]
    values = [_correlation(read[..., i][which[..., n // 2]], true[..., i][which[..., n // 2]]) for n, i in enumerate(columns)]
    measured = [value for value in values if value is not None]
    return float(np.mean(measured)) if measured else None


def _correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float | None:
    """None of fewer frames than say anything."""
    return float(np.corrcoef(first, second)[0, 1]) if len(first) >= _LEAST_FRAMES else None
