"""What each step of a run draws from its clips, as pure functions of (seed, step).

Belongs here: everything random that an update depends on. Not here: which clips a step sees (`batch_sampler`), generators and
noising (`bases.flow`), what is learned from the draws (`objective`).

A clip's draws are keyed by its position on the endless row of batches, `step * batch_size + row`: how many clips a forward
takes and how many processes share a batch changes none of them. All are drawn on the CPU, so that a run does not depend on the
device's generator, and by generators of their own, so that they may be drawn in another thread.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from model.bases.conditions import with_picture
from model.bases.flow import generator, shift_sigma
from model.bases.specs import BaseSpec
from model.clips.clip_set import Batch, ClipSet, DataError, Text
from model.face_branch.aligner import FacePairs
from model.face_branch.references import References, region_mask
from model.face_engine.view_spread import others_first
from model.presets import AlignerConfig, ConditionView, Preset, ReferenceConfig, TrainConfig
from model.training.batch_sampler import Order
from model.training.parallel import Ranks, Turn


class ForwardDraws(NamedTuple):
    """What one forward learns from."""

    rows: torch.Tensor  # (b,)  of the step's batch
    batch: Batch
    noise: torch.Tensor  # (b, C, T', h, w)  of all that is drawn, VACE's picture among it
    sigma: torch.Tensor  # (b,)
    keep_face: torch.Tensor  # (b,)  False: the null tokens take the face's place
    references: References | None
    cell_weight: torch.Tensor | None  # (b, T', h, w)  of each latent cell's error; None: all alike
    counts: bool  # False: computed for the other processes' sake alone (`Ranks.deal`)


class PairShare(NamedTuple):
    """One process's part of a contrastive batch."""

    pairs: FacePairs
    rows: range  # of the batch's pairs
    of: int  # pairs in the batch


@dataclass(frozen=True)
class StepDraws:
    """What one process computes of one step."""

    step: int
    clip_ids: tuple[str, ...]  # of the whole batch, B
    quantile: torch.Tensor  # (B,)  where each clip's sigma lies in the distribution that sigmas are drawn from
    first_frame: bool
    """The first latent frame is given, as in `flow`."""
    forwards: tuple[ForwardDraws, ...]
    pairs: PairShare | None


def draw_steps(clips: ClipSet, order: Order, preset: Preset, first: int, ranks: Ranks) -> Iterator[StepDraws]:
    """This process's share of every step from number `first` on, in memory from which a GPU can fetch it by itself."""
    on_gpu = ranks.device.type == "cuda"
    if on_gpu:
        # A thread begins on the first GPU, where every process would take memory of its own merely to pin some of the host's.
        torch.cuda.set_device(ranks.device)
    for step in range(first, preset.train.steps):
        draws = draw_step(clips, order, preset, step, ranks)
        yield pinned(draws) if on_gpu else draws


def draw_step(clips: ClipSet, order: Order, preset: Preset, step: int, ranks: Ranks) -> StepDraws:
    """A process's share of step number `step`, in forwards of `forward_clips`.

    Processes that share the base's weights have to run the same transformer at the same time: they deal out the whole batch.

    Raises:
        DataError: a clip cannot be read, or holds nothing of what the preset asks for; the message names it.
    """
    config, indices = preset.train, order.batch(step)
    quantile = torch.cat([_dice(preset, "sigma", step, row) for row in range(config.batch_size)])
    first_frame = torch.rand((), generator=generator(config.seed, "first-frame-dropout", step))
    rows, aligner = ranks.share(config.batch_size), preset.fusion.aligner
    # The largest share, not this process's own: dealt by different sizes, one would have a forward more than another.
    size = config.forward_clips or -(-config.batch_size // ranks.world)
    if config.shard_base:
        turns = ranks.deal(_experts(clips, indices, quantile, preset), size)
    else:
        turns = [Turn(range(start, min(start + size, rows.stop))) for start in rows[::size]]
    return StepDraws(
        step=step,
        clip_ids=tuple(clips.clip_ids[index] for index in indices),
        quantile=quantile,
        first_frame=bool(first_frame >= config.first_frame_dropout),
        forwards=tuple(_draw_forward(clips, indices, quantile, preset, step, turn) for turn in turns),
        pairs=None if aligner is None else choose_pairs(clips, aligner, config.seed, step, ranks.share),
    )


def moved(draws: Any, device: torch.device) -> Any:
    """The same draws, or part of them, on `device`; from pinned memory without waiting."""
    return _each_tensor(draws, lambda tensor: tensor.to(device, non_blocking=device.type == "cuda"))


def pinned(draws: StepDraws) -> StepDraws:
    """The same draws in page-locked memory."""
    parts = (_each_tensor(part, torch.Tensor.pin_memory) for part in (draws.forwards, draws.pairs))
    return StepDraws(draws.step, draws.clip_ids, draws.quantile, draws.first_frame, *parts)


def latent_flow_shift(latents: torch.Tensor, base: BaseSpec) -> float:
    """The base's sigma shift for videos of the size of these latents (B, C, T', h, w)."""
    return base.flow_shift(latents.shape[3] * base.spatial_factor, latents.shape[4] * base.spatial_factor)


def sample_latents(batch: Batch, seed: int, positions: Sequence[int]) -> torch.Tensor:
    """(B, C, T', h, w): a draw from the distribution that the VAE gives for each clip, its mean where it has no spread."""
    if batch.spread is None:
        return batch.latents
    return batch.latents + batch.spread * _noise(batch.latents.shape[1:], seed, "vae", positions)


class Told(NamedTuple):
    """What a clip is trained with."""

    text: Text
    face: bool
    references: bool


def choose_told(config: TrainConfig, position: int) -> Told:
    """What a clip is told: nothing at all for `joint_dropout`, the state that guidance starts from; of the others, words, the
    sentence on speech, face and references each go missing by themselves."""
    joint, text, speech, face, references = (
        float(torch.rand((), generator=generator(config.seed, f"{what}-dropout", position)))
        for what in ("joint", "text", "speech", "face", "reference")
    )
    if joint < config.joint_dropout:
        return Told("empty", face=False, references=False)
    words: Text = "empty" if text < config.text_dropout else "plain" if speech < config.speech_dropout else "caption"
    return Told(words, face=face >= config.face_dropout, references=references >= config.reference_dropout)


def choose_face(clips: ClipSet, index: int, which: ConditionView, seed: int, position: int) -> int:
    """Which view of a clip conditions it.

    Drawn evenly from the spread views, profile comes as often as frontal: a user's photo is whatever it is.
    """
    if which == "first_frame":
        return clips.poses.first_frame(index)
    if which == "frontal":
        return clips.poses.frontal(index)
    return int(torch.randint(clips.poses.count(index), (), generator=generator(seed, "condition-view", position)))


def choose_shown(clips: ClipSet, index: int, config: ReferenceConfig, seed: int, position: int) -> int:
    """Whose views are a clip's references: its own, or for a share of draws those of another clip of its person.

    A clip whose person is in no other clip keeps its own, so that `cross_share` bounds the share from above.
    """
    others = [other for other in clips.of_person(clips.persons[index]) if other != index]
    dice = generator(seed, "cross-pairs", position)
    if torch.rand((), generator=dice) >= config.cross_share or not others:
        return index
    return others[int(torch.randint(len(others), (), generator=dice))]


def choose_views(clips: ClipSet, index: int, views: int, face: int | None, seed: int, position: int) -> list[int]:
    """Which of a clip's spread views are references: first others than the one that conditions, then that one, then again.

    Args:
        face: the view that conditions; None where another clip is conditioned.
    """
    order = torch.randperm(clips.poses.count(index), generator=generator(seed, "views", position)).tolist()
    return others_first(order, face, views)


class FixedViews(NamedTuple):
    """What judged clips are shown."""

    faces: list[int]
    references: list[list[int]]


def fixed_views(clips: ClipSet, triples: Sequence[int], references: int) -> FixedViews:
    """The same without dice, for judging: the clips take turns by the triples' numbers, and so do the views of each of them.

    Triple number t is of clip t % N, and conditioned by its spread view number (t % N + t // N) % V: of a few triples, too, some
    are conditioned in profile. Its references are the views that follow, counted round.
    """
    found = FixedViews([], [])
    for triple in triples:
        turn, index = divmod(triple, len(clips))
        count = clips.poses.count(index)
        face = (index + turn) % count
        found.faces.append(face)
        found.references.append(others_first([(face + step) % count for step in range(count)], face, references))
    return found


def hide_references(
    latents: torch.Tensor, config: ReferenceConfig, keep: torch.Tensor, patch: tuple[int, int, int], seed: int, position: int
) -> References:
    """Clips' references (B, R, C, h, w), partly hidden; of the clips that do not `keep` (B,) them the null token is shown."""
    visible = region_mask(latents, patch, config.masked_share, generator(seed, "region-mask", position))
    return References(latents, visible, keep)


def weigh_face(boxes: torch.Tensor, height: int, width: int, weight: float) -> torch.Tensor:
    """(B, T', h, w): `weight` for the latent cells that the face's box touches, 1 for the others and where no face was seen.

    Args:
        boxes: (B, T', 4) x1 y1 x2 y2 in shares of the frame; NaN where none was seen.
        height, width: latent cells.
        weight: of a cell's error beside that of the background; `flow.flow_loss` takes the weighted mean, so that a loss
            of the same size everywhere stays what it is.
    """
    x1, y1, x2, y2 = boxes[..., None].unbind(dim=2)  # (B, T', 1) each
    column, row = torch.arange(width), torch.arange(height)
    across = (x1 * width < column + 1) & (x2 * width > column)  # (B, T', w)
    down = (y1 * height < row + 1) & (y2 * height > row)  # (B, T', h)
    return torch.where(down[..., :, None] & across[..., None, :], weight, 1.0)


def choose_pairs(clips: ClipSet, config: AlignerConfig, seed: int, step: int, share: Callable[[int], range] = range) -> PairShare:
    """Up to `config.pairs` persons, two views of each that are `config.least_gap_deg` apart, drawn anew every step.

    A person is in it once: another clip of the same person would count as somebody else. Whose views all lie nearer to each other
    is left out. Where there is but one person, nobody is to be told apart, and the contrastive loss is zero.

    Args:
        share: which of so many pairs are read; all of them unless told.

    Raises:
        DataError: of nobody there are two views so far apart.
    """
    dice = generator(seed, "pairs", step)
    persons: dict[str, tuple[int, NDArray[np.int64]]] = {}
    for index in torch.randperm(len(clips), generator=dice).tolist():
        if clips.persons[index] not in persons and len(apart := clips.poses.pairs_apart(index, config.least_gap_deg)):
            persons[clips.persons[index]] = index, apart
        if len(persons) == config.pairs:
            break
    if not persons:
        raise DataError(
            f"none of {len(clips)} clips holds two views of its face whose poses are {config.least_gap_deg:g} degrees apart, "
            "which the pose-shared aligner learns from: curate clips with more pose variation, lower "
            "fusion.aligner.least_gap_deg, or train a preset whose fusion.aligner is None"
        )
    chosen = {index: apart[int(torch.randint(len(apart), (), generator=dice))].tolist() for index, apart in persons.values()}
    rows, every = share(len(chosen)), list(chosen)
    # Of no pair there would be no shape either: one is read, and left out.
    read = clips.posed_views({index: chosen[index] for index in every[rows.start : rows.stop] or every[:1]})
    return PairShare(FacePairs(*(views[:, : len(rows)] for views in read)), rows, len(chosen))


def _draw_forward(
    clips: ClipSet, indices: Sequence[int], quantile: torch.Tensor, preset: Preset, step: int, turn: Turn
) -> ForwardDraws:
    config, wanted, rows = preset.train, preset.fusion.references, torch.tensor(turn.rows)
    chosen, positions = [indices[row] for row in turn.rows], [_position(preset, step, row) for row in turn.rows]
    places = list(zip(chosen, positions, strict=True))
    told = [choose_told(config, position) for position in positions]
    faces = [choose_face(clips, index, config.condition_view, config.seed, position) for index, position in places]
    shown, views = None, None
    if wanted is not None:
        shown = [choose_shown(clips, index, wanted, config.seed, position) for index, position in places]
        views = [
            choose_views(clips, other, wanted.views, face if other == index else None, config.seed, position)
            for other, face, (index, position) in zip(shown, faces, places, strict=True)
        ]
    batch = clips.batch(chosen, [one.text for one in told], views, shown, faces)
    frames = config.most_frames(step)
    if frames is not None:
        # Legal because Wan's VAE is causal in time: its first latents are those of the clip that ends there.
        batch = batch.cut(1 + (frames - 1) // preset.base.temporal_factor)
    batch = batch._replace(latents=sample_latents(batch, config.seed, positions), spread=None)
    clean = with_picture(batch.latents, batch.condition)
    references, patch = None, (1, preset.base.patch, preset.base.patch)
    if wanted is not None and batch.references is not None:
        hidden = [
            hide_references(views_of_one, wanted, torch.tensor([one.references]), patch, config.seed, position)
            for views_of_one, one, position in zip(batch.references.split(1), told, positions, strict=True)
        ]
        references = References(*(torch.cat(part) for part in zip(*hidden, strict=True)))
    return ForwardDraws(
        rows=rows,
        batch=batch,
        noise=_noise(clean.shape[1:], config.seed, "noise", positions),
        sigma=shift_sigma(quantile[rows], latent_flow_shift(batch.latents, preset.base)),
        keep_face=torch.tensor([one.face for one in told]),
        references=references,
        cell_weight=_cell_weight(batch, config.face_loss_weight, clean.shape[2]),
        counts=turn.counts,
    )


def _experts(clips: ClipSet, indices: Sequence[int], quantile: torch.Tensor, preset: Preset) -> list[int]:
    """Which of the base's transformers each row of a batch, whose clips are of one size, is for."""
    if preset.base.boundary is None:
        return [0] * len(indices)
    size = clips.entry(indices[0]).meta.bucket
    sigma = shift_sigma(quantile, preset.base.flow_shift(size.height, size.width))
    return (sigma < preset.base.boundary).int().tolist()


def _cell_weight(batch: Batch, weight: float, frames: int) -> torch.Tensor | None:
    """(B, frames, h, w): what is drawn before the video counts as its background does."""
    if weight == 1:
        return None
    if batch.face_boxes is None:
        raise DataError(
            f"clip {batch.clip_ids[0]} holds no boxes of its face, which train.face_loss_weight asks for: materialize "
            "training_latents again, or set it to 1"
        )
    video = weigh_face(batch.face_boxes, batch.latents.shape[3], batch.latents.shape[4], weight)
    return F.pad(video, (0, 0, 0, 0, frames - video.shape[1], 0), value=1.0)


def _noise(shape: Sequence[int], seed: int, purpose: str, positions: Sequence[int]) -> torch.Tensor:
    """(positions, *shape), normal."""
    return torch.stack([torch.randn(*shape, generator=generator(seed, purpose, position)) for position in positions])


def _position(preset: Preset, step: int, row: int) -> int:
    return step * preset.train.batch_size + row


def _dice(preset: Preset, purpose: str, step: int, row: int) -> torch.Tensor:
    """(1,): uniform in [0, 1)."""
    return torch.rand(1, generator=generator(preset.train.seed, purpose, _position(preset, step, row)))


def _each_tensor(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The same tuples with every tensor in them changed."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if not isinstance(value, tuple):
        return value
    parts = [_each_tensor(part, change) for part in value]
    return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
