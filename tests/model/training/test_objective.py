"""One step's losses and gradients: the same whoever computes which part of the batch."""

from collections.abc import Callable

import pytest
import torch

import model.training.objective
from model.clips.clip_set import ClipSet
from model.face_branch.trainable import FusedModel
from model.presets import Preset
from model.training.batch_sampler import Order
from model.training.objective import StepLosses, backward
from model.training.parallel import Ranks
from model.training.sampling import draw_step
from model.training.train import never
from tests.model.training.conftest import ALONE

Quick = Callable[..., Preset]


@pytest.fixture
def gradients(fused: Callable[..., FusedModel], clips: ClipSet) -> Callable[..., tuple[StepLosses, dict[str, torch.Tensor]]]:
    """Losses and gradients of one step of a model that hears its face; the same model every time."""
    model = fused(heard=True)

    def go(preset: Preset, step: int = 0, ranks: Ranks = ALONE) -> tuple[StepLosses, dict[str, torch.Tensor]]:
        model.set_training(True)
        order = Order(tuple(clips.buckets.values()), preset.train.batch_size, preset.train.seed)
        draws = draw_step(clips, order, preset, step, ranks)
        losses = backward(model, draws, preset, ranks, never)
        found = {name: value.grad for name, value in model.trainable().items() if value.grad is not None}
        for parameter in model.trainable().values():
            parameter.grad = None
        return losses, found

    return go


def close(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.allclose(value, second[name], rtol=1e-3, atol=1e-6) for name, value in first.items()
    )


@pytest.mark.parametrize("forward_clips", [1, 2, 4])
def test_a_batch_in_parts_is_the_batch(gradients: Callable, quick: Quick, forward_clips: int) -> None:
    """4 divides 5 in no way: the last part is smaller, and weighs less."""
    losses, whole = gradients(quick(batch_size=5))
    parts_losses, parts = gradients(quick(batch_size=5, forward_clips=forward_clips))
    assert torch.allclose(losses.flow, parts_losses.flow, rtol=1e-4)
    assert parts_losses.clip_ids == losses.clip_ids
    assert close(whole, parts)


def test_two_processes_together_are_one(gradients: Callable, quick: Quick, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are gone through twice, one after the other: the second time each is given what the other gave to every sum."""
    monkeypatch.setattr(Ranks, "sum_gradients", lambda _self, _parameters: None)
    config = quick(batch_size=5, forward_clips=2)
    losses, whole = gradients(config)
    given: tuple[list[torch.Tensor], ...] = ([], [])

    def first_time(ranks: Ranks, tensor: torch.Tensor) -> torch.Tensor:
        given[ranks.rank].append(tensor.detach().clone())
        return tensor

    monkeypatch.setattr(Ranks, "sum", first_time)
    halves = [gradients(config, ranks=Ranks(rank, 2, torch.device("cpu"))) for rank in (0, 1)]
    assert [int((half.flow > 0).sum()) for half, _ in halves] == [2, 3]
    assert [int(given[rank][2].any(dim=1).sum()) for rank in (0, 1)] == [2, 3], "each aligns its share of the pairs"
    others = [iter(given[1]), iter(given[0])]
    monkeypatch.setattr(Ranks, "sum", lambda ranks, tensor: tensor + next(others[ranks.rank]))
    halves = [gradients(config, ranks=Ranks(rank, 2, torch.device("cpu"))) for rank in (0, 1)]
    for half, _ in halves:
        assert torch.allclose(losses.flow, half.flow, rtol=1e-4)
        assert torch.allclose(losses.contrastive, half.contrastive, rtol=1e-5)
    assert close(whole, {name: halves[0][1][name] + halves[1][1][name] for name in whole})


def test_every_step_draws_anew_and_the_same_step_the_same(gradients: Callable, quick: Quick) -> None:
    config = quick(batch_size=5)  # all clips in every step
    first, again, later = (gradients(config, step)[0] for step in (0, 0, 1))
    assert torch.equal(first.flow, again.flow)
    assert torch.equal(first.quantile, again.quantile)
    assert not set(first.quantile.tolist()) & set(later.quantile.tolist())


def test_noise_is_of_a_clips_own(gradients: Callable, quick: Quick, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[torch.Tensor] = []
    add_noise = model.training.objective.add_noise

    def note(clean: torch.Tensor, noise: torch.Tensor, sigma: torch.Tensor, first_frame: bool = True) -> torch.Tensor:
        drawn.extend(noise)
        return add_noise(clean, noise, sigma, first_frame)

    monkeypatch.setattr(model.training.objective, "add_noise", note)
    gradients(quick(batch_size=3, forward_clips=2), step=0)
    gradients(quick(batch_size=3, forward_clips=2), step=1)
    assert len(drawn) == 6
    assert len({tuple(noise.flatten()[:8].tolist()) for noise in drawn}) == 6


def test_the_face_weighs_more_in_the_gradient_and_not_in_the_figure(gradients: Callable, quick: Quick) -> None:
    plain, plain_gradients = gradients(quick(batch_size=5))
    weighted, weighted_gradients = gradients(quick(batch_size=5, face_loss_weight=4.0))
    assert torch.equal(plain.flow, weighted.flow)
    assert not close(plain_gradients, weighted_gradients)


def test_the_contrastive_loss_comes_with_the_aligner_alone(gradients: Callable, quick: Quick) -> None:
    config = quick(batch_size=2)
    losses, found = gradients(config)
    assert losses.contrastive > 0
    assert found["adapter/pose_aligner.dictionary"].abs().max() > 0
    off = config.model_copy(update={"fusion": config.fusion.model_copy(update={"aligner": None})})
    losses, found = gradients(off)
    assert losses.contrastive == 0
    assert "adapter/pose_aligner.dictionary" not in found


def test_bfloat16_changes_the_loss_little_and_not_its_format(gradients: Callable, quick: Quick) -> None:
    exact, rounded = (gradients(quick(batch_size=5, precision=precision)) for precision in ("float32", "bfloat16"))
    assert rounded[0].flow.dtype == torch.float32
    assert all(gradient.dtype == torch.float32 for gradient in rounded[1].values())
    assert not torch.equal(exact[0].flow, rounded[0].flow)
    assert torch.allclose(exact[0].flow, rounded[0].flow, rtol=0.02)
    # The contrastive batch is outside autocast.
    assert torch.equal(exact[0].contrastive, rounded[0].contrastive)
