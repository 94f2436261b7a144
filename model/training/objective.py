"""What one update learns: the losses of what its step has drawn, and their gradients.

Belongs here: one step's forwards and backwards. Not here: what is drawn (`sampling`), the update itself (`optimisation`), the
order of steps (`train`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from model.bases.conditions import with_picture
from model.bases.flow import add_noise, flow_loss
from model.clips.clip_set import Batch
from model.face_branch.trainable import FusedModel
from model.presets import Preset
from model.training.execution import autocast
from model.training.parallel import Ranks
from model.training.sampling import ForwardDraws, PairShare, StepDraws, moved


@dataclass(frozen=True)
class StepLosses:
    """What a whole batch, of all processes, came to; its gradients are in the parameters."""

    clip_ids: tuple[str, ...]
    flow: torch.Tensor  # (B,)           of all cells alike, whatever weights trained, so that runs can be compared
    contrastive: torch.Tensor  # ()      unweighted; zero without an aligner
    quantile: torch.Tensor  # (B,)       where each clip's sigma lies in the distribution that sigmas are drawn from
    last: Batch  # the clips of this process's last forward
    last_sigma: torch.Tensor  # of each of them


class UpdateDropped(Exception):
    """`stop` said so before or between the forwards of an update: what gradients there are, are part of one and worth nothing."""


def backward(model: FusedModel, draws: StepDraws, preset: Preset, ranks: Ranks, stop: Callable[[], bool]) -> StepLosses:
    """Adds the gradients of one step, summed over all processes, to the parameters'.

    Args:
        stop: asked before every forward. What one process answers holds for all, so that none waits for another.

    Raises:
        UpdateDropped: on all processes before the same forward.
    """
    batch_size = len(draws.clip_ids)
    losses = torch.zeros(batch_size, device=ranks.device)
    for number in range(max(len(draws.forwards), _most_forwards(preset, ranks))):
        if ranks.any(stop()):
            raise UpdateDropped
        if number == len(draws.forwards):  # another process has a clip more
            break
        part: ForwardDraws = moved(draws.forwards[number], ranks.device)
        loss, weighted = _flow_losses(model, part, preset, draws.first_frame)
        (part.counts * weighted.sum() / batch_size).backward()
        if part.counts:
            losses.index_copy_(0, part.rows, loss.detach())
    contrastive = _contrastive(model, draws.pairs, preset, ranks)
    ranks.sum_gradients(model.trainable().values())
    return StepLosses(
        clip_ids=draws.clip_ids,
        flow=ranks.sum(losses),
        contrastive=contrastive,
        quantile=draws.quantile,
        last=part.batch,
        last_sigma=part.sigma,
    )


def _most_forwards(preset: Preset, ranks: Ranks) -> int:
    """The most forwards of one process in an update."""
    share = -(-preset.train.batch_size // ranks.world)
    return -(-share // (preset.train.forward_clips or share))


def _flow_losses(model: FusedModel, part: ForwardDraws, preset: Preset, first_frame: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """(b,) twice: the flow loss of each clip in float32, and the same with its cells weighted, which trains."""
    clean, held = with_picture(part.batch.latents, part.batch.condition), model.holds_first_frame(first_frame)
    noisy = add_noise(clean, part.noise, part.sigma, held)
    with autocast(preset.train, clean.device):
        velocity = model.velocity(noisy, part.sigma, part.batch, part.keep_face, part.references, first_frame)
    loss = flow_loss(velocity, clean, part.noise, held)
    if part.cell_weight is None:
        return loss, loss
    return loss, flow_loss(velocity, clean, part.noise, held, part.cell_weight)


def _contrastive(model: FusedModel, share: PairShare | None, preset: Preset, ranks: Ranks) -> torch.Tensor:
    """The contrastive loss on a batch of its own, outside autocast: at its temperature bfloat16 tells too few apart.

    Every pair is a negative of every other. Each process reads and aligns its share of them, the aligned ones of all come
    together, and each adds its fraction of the gradient.
    """
    wanted = preset.fusion.aligner
    if wanted is None or share is None:
        return torch.zeros((), device=ranks.device)
    loss = model.contrastive_loss(
        moved(share.pairs, ranks.device), lambda aligned: ranks.gather_rows(aligned, share.rows, share.of)
    )
    (wanted.loss_weight * loss / ranks.world).backward()
    return loss.detach()
