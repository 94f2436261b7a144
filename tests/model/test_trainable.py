"""What trains, under which name, and that gradients reach all of it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from model.base import load_base
from model.data import ClipSet
from model.experts import FaceFeatures
from model.flow import add_noise, flow_loss
from model.presets import Preset
from model.trainable import FusedModel, assemble

Fused = Callable[..., FusedModel]


@pytest.mark.parametrize(
    ("trainable", "parts"),
    [("adapter", {"adapter"}), ("adapter_and_lora", {"adapter", "lora"}), ("all", {"adapter", "weights"})],
)
def test_what_is_named_trains_and_nothing_else(fused: Fused, trainable: str, parts: set[str]) -> None:
    model = fused(trainable=trainable)
    names = model.trainable()
    assert {name.split("/")[0] for name in names} == parts
    everything = [*model.fusion.parameters(), *model.base.transformer.parameters()]
    assert len(names) == sum(parameter.requires_grad for parameter in everything)


def test_lora_lands_in_the_base_alone(fused: Fused) -> None:
    model = fused(trainable="adapter_and_lora")
    lora = [name for name in model.trainable() if name.startswith("lora/")]
    assert len(lora) == 2 * 2 * 4 * 2  # blocks, attentions, projections, A and B
    assert not any("lora" in key for key in model.fusion.state_dict())


@pytest.mark.parametrize("kind", ["cofe", "mofe"])
@pytest.mark.parametrize("trainable", ["adapter_and_lora", "all"])
def test_every_trainable_tensor_gets_gradient_within_two_updates(fused: Fused, clips: ClipSet, kind: str, trainable: str) -> None:
    model = fused(kind, trainable)
    parameters = model.trainable()
    optimizer = torch.optim.AdamW(parameters.values(), lr=1e-2)
    batch, keep = clips.batch([0, 1, 2]), torch.tensor([True, True, False])
    sigma, noise = torch.tensor([0.2, 0.5, 0.9]), torch.randn(3, *batch.latents.shape[1:])
    for _ in range(3):
        optimizer.zero_grad()
        velocity = model.velocity(add_noise(batch.latents, noise, sigma), sigma, batch, keep)
        flow_loss(velocity, batch.latents, noise).mean().backward()
        optimizer.step()
    assert not [name for name, parameter in parameters.items() if parameter.grad is None or not parameter.grad.any()]


def test_the_start_is_a_function_of_the_seed_alone(base_dir: Path, features: FaceFeatures, quick: Callable[..., Preset]) -> None:
    starts = []
    for seed in (0, 0, 1):
        chosen = quick(trainable="adapter_and_lora", seed=seed)
        model = assemble(load_base(base_dir, "cpu"), features, chosen.fusion, chosen.train)
        starts.append(torch.cat([parameter.detach().flatten() for parameter in model.trainable().values()]))
        torch.rand(3)
    assert torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[0], starts[2])
