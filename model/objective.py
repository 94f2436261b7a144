"""What one update learns from: its clips, what is drawn for each of them, the losses and their gradients.

Belongs here: one step's draws and backward passes. Not here: the update itself (`optimisation`), the order of steps (`train`).

A clip's draws are keyed by its position on the endless row of shuffled epochs, `step * batch_size + row`: how many clips a
forward takes and how many processes share a batch changes none of them. All are drawn on the CPU, so that a run does not
depend on the device's generator.
"""

import time
from dataclasses import dataclass

import torch

from model.data import Batch, ClipSet, Text, batch_indices
from model.draws import choose_pairs, choose_views, hide_references
from model.execution import autocast
from model.flow import add_noise, flow_loss, generator, shift_sigma
from model.parallel import Ranks
from model.presets import Preset, TrainConfig
from model.references import References
from model.trainable import FusedModel


@dataclass(frozen=True)
class StepLosses:
    """What a whole batch, of all processes, came to; its gradients are in the parameters."""

    clip_ids: tuple[str, ...]
    flow: torch.Tensor  # (B,)
    contrastive: torch.Tensor  # ()      unweighted; zero without an aligner
    quantile: torch.Tensor  # (B,)       where each clip's sigma lies in the distribution that sigmas are drawn from
    last: Batch  # the clips of this process's last forward
    last_sigma: torch.Tensor  # of each of them
    data_wait_s: float  # seconds in which this process waited for clips


def backward(model: FusedModel, clips: ClipSet, preset: Preset, step: int, ranks: Ranks) -> StepLosses:
    """Adds the gradients of step number `step`, summed over all processes, to the parameters'."""
    config = preset.train
    indices = _clips_of_step(clips, config, step)
    quantile = torch.cat([_dice(preset, "sigma", step, row) for row in range(config.batch_size)])
    sigmas = shift_sigma(quantile, config.flow_shift).to(ranks.device)
    dice = torch.rand((), generator=generator(config.seed, "first-frame-dropout", step))
    first_frame = bool(dice >= config.first_frame_dropout)
    losses = torch.zeros(config.batch_size, device=ranks.device)
    rows = ranks.share(config.batch_size)
    data_wait_s = 0.0
    for start in rows[:: config.forward_clips or len(rows)]:
        part = range(start, min(start + (config.forward_clips or len(rows)), rows.stop))
        waiting = time.monotonic()
        batch = _draw_batch(clips, preset, step, part, [indices[row] for row in part]).to(ranks.device)
        data_wait_s += time.monotonic() - waiting
        sigma = sigmas[part.start : part.stop]
        loss = _flow_losses(model, batch, sigma, preset, step, part, first_frame)
        (loss.sum() / config.batch_size).backward()
        losses[part.start : part.stop] = loss.detach()
    contrastive = _contrastive(model, clips, preset, step, ranks)
    ranks.sum_gradients(model.trainable().values())
    return StepLosses(
        clip_ids=tuple(clips.clip_ids[index] for index in indices),
        flow=ranks.sum(losses),
        contrastive=contrastive,
        quantile=quantile,
        last=batch,
        last_sigma=sigma,
        data_wait_s=data_wait_s,
    )


def _clips_of_step(clips: ClipSet, config: TrainConfig, step: int) -> list[int]:
    """Of one bucket; the buckets take turns."""
    sizes = tuple(clips.buckets.values())
    bucket = sizes[step % len(sizes)]
    return [bucket[place] for place in batch_indices(len(bucket), config.batch_size, config.seed, step // len(sizes))]


def _draw_batch(clips: ClipSet, preset: Preset, step: int, rows: range, indices: list[int]) -> Batch:
    config, wanted = preset.train, preset.fusion.references
    dropped = [bool(_dice(preset, "text-dropout", step, row) < config.text_dropout) for row in rows]
    texts: list[Text] = ["empty" if drop else "caption" for drop in dropped]
    views = None
    if wanted is not None:
        views = [
            choose_views(clips, [index], wanted.views, config.seed, _position(preset, step, row))[0]
            for row, index in zip(rows, indices, strict=True)
        ]
    return clips.batch(indices, texts, views)


def _flow_losses(
    model: FusedModel, batch: Batch, sigma: torch.Tensor, preset: Preset, step: int, rows: range, first_frame: bool
) -> torch.Tensor:
    """(rows,): the flow loss of each clip, in float32."""
    config, device = preset.train, batch.latents.device
    noise = torch.stack(
        [
            torch.randn(batch.latents.shape[1:], generator=generator(config.seed, "noise", _position(preset, step, row)))
            for row in rows
        ]
    ).to(device)
    keep_face = torch.cat([_dice(preset, "face-dropout", step, row) >= config.face_dropout for row in rows]).to(device)
    noisy = add_noise(batch.latents, noise, sigma, first_frame)
    references = _references(model, batch, preset, step, rows)
    with autocast(config, device):
        velocity = model.velocity(noisy, sigma, batch, keep_face, references, first_frame)
    return flow_loss(velocity, batch.latents, noise, first_frame)


def _references(model: FusedModel, batch: Batch, preset: Preset, step: int, rows: range) -> References | None:
    config, wanted = preset.train, preset.fusion.references
    if wanted is None or batch.references is None:
        return None
    patch = model.base.transformer.config.patch_size
    hidden = [
        hide_references(
            batch.references[number : number + 1].cpu(),
            wanted,
            config.reference_dropout,
            patch,
            config.seed,
            _position(preset, step, row),
        )
        for number, row in enumerate(rows)
    ]
    return References(*(torch.cat(part) for part in zip(*hidden, strict=True))).to(batch.latents.device)


def _contrastive(model: FusedModel, clips: ClipSet, preset: Preset, step: int, ranks: Ranks) -> torch.Tensor:
    """The contrastive loss on a batch of its own, outside autocast: at its temperature bfloat16 tells too few apart.

    Every pair is a negative of every other, so each process computes the whole batch and adds its fraction of the gradient.
    """
    wanted = preset.fusion.aligner
    if wanted is None:
        return torch.zeros((), device=ranks.device)
    pairs = choose_pairs(clips, wanted, preset.train.seed, step).to(ranks.device)
    loss = model.contrastive_loss(pairs)
    (wanted.loss_weight * loss / ranks.world).backward()
    return loss.detach()


def _position(preset: Preset, step: int, row: int) -> int:
    return step * preset.train.batch_size + row


def _dice(preset: Preset, purpose: str, step: int, row: int) -> torch.Tensor:
    """(1,): uniform in [0, 1)."""
    return torch.rand(1, generator=generator(preset.train.seed, purpose, _position(preset, step, row)))
