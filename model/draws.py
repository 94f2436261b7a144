"""What each step of a run draws from its clips, as pure functions of (seed, step).

Belongs here: which views are references, which are hidden where, which pairs the aligner learns from. Not here: noise and
sigma (`flow`), the order of clips (`data.batch_indices`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from model.data import ClipSet, DataError
from model.flow import generator
from model.presets import AlignerConfig, ReferenceConfig
from model.references import References, region_mask, tokens_of_view


class FacePairs(NamedTuple):
    """Two views of each of some persons, no person twice; everything the pose-shared aligner is trained on."""

    semantic: torch.Tensor  # (2, P, S, D_s)
    angles_deg: torch.Tensor  # (2, P, 3)

    def to(self, device: torch.device) -> "FacePairs":
        """The same pairs on `device`."""
        return FacePairs(*(part.to(device) for part in self))


def choose_views(clips: ClipSet, indices: Sequence[int], views: int, seed: int, step: int) -> list[list[int]]:
    """For each clip, which of its views are its references; a clip with fewer than `views` shows some of them again."""
    dice = generator(seed, "views", step)
    chosen = []
    for index in indices:
        order = torch.randperm(clips.view_count(index), generator=dice).tolist()
        chosen.append([order[slot % len(order)] for slot in range(views)])
    return chosen


def first_views(clips: ClipSet, indices: Sequence[int], views: int) -> list[list[int]]:
    """The same without dice: the first views of each clip, for judging a model."""
    return [[slot % clips.view_count(index) for slot in range(views)] for index in indices]


def hide_references(
    latents: torch.Tensor, config: ReferenceConfig, dropout: float, patch: tuple[int, int, int], seed: int, step: int
) -> References:
    """A training batch's references (B, R, C, h, w), partly hidden, and for some clips replaced by the null token."""
    rows, views = latents.shape[:2]
    tokens = tokens_of_view(latents, patch)
    visible = region_mask(rows, views, tokens, config.masked_share, generator(seed, "region-mask", step))
    keep = torch.rand(rows, generator=generator(seed, "reference-dropout", step)) >= dropout
    return References(latents, visible, keep)


def choose_pairs(clips: ClipSet, config: AlignerConfig, seed: int, step: int) -> FacePairs:
    """Up to `config.pairs` persons, two different views of each, drawn anew every step.

    A person is in it once: another clip of the same person would count as somebody else. Where there is but one, nobody is
    to be told apart, and the contrastive loss is zero.

    Raises:
        DataError: of nobody there are two views.
    """
    dice = generator(seed, "pairs", step)
    persons: dict[str, int] = {}
    for index in torch.randperm(len(clips), generator=dice).tolist():
        if clips.view_count(index) > 1:
            persons.setdefault(clips.persons[index], index)
    if not persons:
        raise DataError(
            f"none of {len(clips)} clips holds two views of its face, which the pose-shared aligner learns from: "
            "curate clips with more pose variation, or train a preset whose fusion.aligner is None"
        )
    pairs = []
    for index in list(persons.values())[: config.pairs]:
        views = clips.views(index)
        two = torch.randperm(len(views.latents), generator=dice)[:2]
        pairs.append((views.semantic[two], views.angles_deg[two]))
    return FacePairs(*(torch.stack(part, dim=1) for part in zip(*pairs, strict=True)))
