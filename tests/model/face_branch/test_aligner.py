"""The pose-shared aligner: periodic angles, bounded memory with the same result, a loss that pairs persons."""

import math

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from model.face_branch.aligner import EulerEmbedding, PoseAligner
from model.presets import AlignerConfig

CONFIG = AlignerConfig(dictionary=64, width=16, chunk=4)


def aligner(**changes: object) -> PoseAligner:
    torch.manual_seed(0)
    return PoseAligner(24, CONFIG.model_copy(update=changes))


@pytest.fixture
def crops() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(10, 9, 24, generator=generator), 90 * torch.rand(10, 3, generator=generator) - 45


@pytest.mark.parametrize("chunk", [1, 3, 10])
def test_chunked_and_unchunked_agree_in_values_and_gradients(crops: tuple[torch.Tensor, torch.Tensor], chunk: int) -> None:
    results = []
    for module in (aligner(chunk=1000), aligner(chunk=chunk)):
        first, second = (module(*(part[half] for part in crops)) for half in (slice(0, 5), slice(5, 10)))
        module.contrastive_loss(first, second).backward()
        results.append((first, [parameter.grad for parameter in module.parameters()]))
    torch.testing.assert_close(results[0], results[1], atol=1e-5, rtol=1e-4)


def test_no_correlation_is_kept_for_the_backward_pass() -> None:
    """A chunk's lives while it is computed, and again in the backward pass; what waits in between is smaller than any."""
    kept = 0

    def note(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += tensor.numel()
        return tensor

    pairs, tokens, config = 64, 50, AlignerConfig(dictionary=256, width=8, chunk=16)
    module = PoseAligner(8, config)
    with saved_tensors_hooks(note, lambda tensor: tensor):
        persons = module(torch.randn(pairs, tokens, 8), torch.zeros(pairs, 3))
    assert 0 < kept < config.chunk * tokens * config.dictionary
    persons.sum().backward()
    assert module.dictionary.grad.any()


def test_activations_are_shares_that_follow_the_best_token(crops: tuple[torch.Tensor, torch.Tensor]) -> None:
    """Max pooling: the order of tokens, and a token seen twice, change nothing."""
    module = aligner()
    weights = module.activations(*crops)
    assert weights.shape == (10, 64)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(10))
    doubled = torch.cat([crops[0].flip(1), crops[0][:, :3]], dim=1)
    torch.testing.assert_close(module.activations(doubled, crops[1]), weights)
    assert not torch.allclose(module.activations(crops[0], crops[1] + 20), weights)


def test_harmonic_angles_are_periodic_and_those_of_the_paper_are_not() -> None:
    around, other_side = torch.tensor([[-179.0, 0, 0], [181.0, 0, 0]]), torch.tensor([[40.0, 0, 0], [-40.0, 0, 0]])
    for kind, periodic in (("harmonic", True), ("timestep", False)):
        encode = EulerEmbedding(kind, 8, 16).encode
        same, apart = ((encode(pair)[0] - encode(pair)[1]).norm() for pair in (around, other_side))
        assert encode(around).shape == (2, 3 * 16)
        assert (same < 1e-4 * apart) == periodic


def test_the_loss_is_symmetric_and_least_where_rows_belong_together() -> None:
    module = aligner()
    assert module.log_scale.exp().item() == pytest.approx(1 / 0.07)
    people = torch.eye(6, 16)
    right = module.contrastive_loss(people, people)
    assert right < 1e-4
    assert module.contrastive_loss(people, people.roll(1, 0)) > 10
    other = torch.randn(6, 16)
    torch.testing.assert_close(module.contrastive_loss(people, other), module.contrastive_loss(other, people))
    same = torch.ones(6, 16)
    assert module.contrastive_loss(same, same).item() == pytest.approx(math.log(6))


def test_it_learns_persons_across_poses() -> None:
    """Held-out poses of 16 persons, told apart by chance in 1 of 16 cases."""
    module = aligner()
    generator = torch.Generator().manual_seed(2)
    persons = torch.randn(16, 9, 24, generator=generator)
    turn = torch.randn(3, 24, generator=generator)

    def look() -> tuple[torch.Tensor, torch.Tensor]:
        angles = 120 * torch.rand(16, 3, generator=generator) - 60
        return persons + (angles / 30 @ turn)[:, None] + 0.3 * torch.randn(16, 9, 24, generator=generator), angles

    optimizer = torch.optim.AdamW(module.parameters(), 5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        module.contrastive_loss(module(*look()), module(*look())).backward()
        optimizer.step()
    first, second = (torch.nn.functional.normalize(module(*look()), dim=-1) for _ in range(2))
    assert ((first @ second.T).argmax(dim=1) == torch.arange(16)).float().mean() > 0.5
