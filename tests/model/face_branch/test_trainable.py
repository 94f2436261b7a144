"""What trains, under which name, and that gradients reach all of it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.bases.base import load_base
from model.bases.build import build_tiny_base
from model.bases.flow import add_noise, flow_loss
from model.bases.specs import TINY_TWO_EXPERTS
from model.clips.clip_set import ClipSet
from model.encoding.face_features import FaceFeatures
from model.face_branch.references import References
from model.face_branch.trainable import FusedModel, assemble
from model.presets import PRESETS, AlignerConfig, Preset
from model.training.metrics import fixed_flow_loss
from model.training.sampling import choose_pairs, fixed_views

Fused = Callable[..., FusedModel]


@pytest.mark.parametrize(
    ("trainable", "parts"),
    [
        ("adapter", {"adapter"}),
        ("adapter_and_cross_attention", {"adapter", "weights"}),
        ("adapter_and_lora", {"adapter", "lora"}),
        ("all", {"adapter", "weights"}),
    ],
)
def test_what_is_named_trains_and_nothing_else(fused: Fused, trainable: str, parts: set[str]) -> None:
    model = fused(trainable=trainable)
    names = model.trainable()
    assert {name.split("/")[0] for name in names} == parts
    everything = [*model.fusion.parameters(), *model.base.transformer.parameters()]
    assert len(names) == sum(parameter.requires_grad for parameter in everything)


def test_cross_attention_is_all_of_the_base_that_trains_beside_the_adapter(fused: Fused) -> None:
    """CoFE v3's figure: flames on cross-attention, snowflakes on self-attention and feed-forward."""
    trained = {name.split("/")[1] for name in fused(trainable="adapter_and_cross_attention").trainable() if "weights/" in name}
    assert {key.split(".")[2] for key in trained} == {"attn2"}
    assert {key.split(".", 3)[3] for key in trained} == {
        *(f"to_{name}.{kind}" for name in ("q", "k", "v", "out.0") for kind in ("weight", "bias")),
        "norm_q.weight",
        "norm_k.weight",
    }


def test_lora_lands_in_the_base_alone(fused: Fused) -> None:
    model = fused(trainable="adapter_and_lora")
    lora = [name for name in model.trainable() if name.startswith("lora/")]
    assert len(lora) == 2 * 2 * 4 * 2  # blocks, attentions, projections, A and B
    assert not any("lora" in key for key in model.fusion.state_dict())


@pytest.mark.parametrize("kind", ["cofe", "mofe"])
@pytest.mark.parametrize("trainable", ["adapter_and_lora", "adapter_and_cross_attention", "all"])
def test_every_trainable_tensor_gets_gradient_within_two_updates(fused: Fused, clips: ClipSet, kind: str, trainable: str) -> None:
    """With every part on. The flow loss does not reach the aligner, which its own loss trains."""
    model = fused(kind, trainable)
    parameters = model.trainable()
    optimizer = torch.optim.AdamW(parameters.values(), lr=1e-2)
    rows = [0, 1, 2]
    batch, keep = clips.batch(rows, views=fixed_views(clips, rows, 2).references), torch.tensor([True, True, False])
    references = References(batch.references, keep=torch.tensor([True, False, True]))
    pairs = choose_pairs(clips, AlignerConfig(pairs=3), seed=0, step=0).pairs
    sigma, noise = torch.tensor([0.2, 0.5, 0.9]), torch.randn(3, *batch.latents.shape[1:])
    for _ in range(3):
        optimizer.zero_grad()
        velocity = model.velocity(add_noise(batch.latents, noise, sigma), sigma, batch, keep, references)
        flow_loss(velocity, batch.latents, noise).mean().backward()
        reached = {name for name, parameter in parameters.items() if parameter.grad is not None}
        assert not any("pose_aligner" in name for name in reached)
        model.contrastive_loss(pairs).backward()
        optimizer.step()
    assert not [name for name, parameter in parameters.items() if parameter.grad is None or not parameter.grad.any()]


def test_undetached_the_flow_loss_trains_the_aligner_too(fused: Fused, clips: ClipSet) -> None:
    model = fused(heard=True, aligner=AlignerConfig(dictionary=8, width=16, detach=False))
    batch = clips.batch([0])
    model.velocity(batch.latents, torch.tensor([0.5]), batch).square().mean().backward()
    assert model.fusion.pose_aligner.dictionary.grad.any()


def test_the_start_is_a_function_of_the_seed_alone(base_dir: Path, features: FaceFeatures, quick: Callable[..., Preset]) -> None:
    starts = []
    for seed in (0, 0, 1):
        chosen = quick(trainable="adapter_and_lora", seed=seed)
        model = assemble(load_base(base_dir, "cpu"), features, chosen.fusion, chosen.train)
        starts.append(torch.cat([parameter.detach().flatten() for parameter in model.trainable().values()]))
        torch.rand(3)
    assert torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[0], starts[2])


@pytest.fixture
def two_experts(tmp_path: Path, features: FaceFeatures, quick: Callable[..., Preset]) -> FusedModel:
    build_tiny_base(tmp_path / "two", spec=TINY_TWO_EXPERTS)
    chosen = quick(trainable="adapter_and_lora")
    return assemble(load_base(tmp_path / "two", "cpu"), features, chosen.fusion, chosen.train)


@torch.no_grad()
def test_of_two_transformers_the_one_for_its_noise_draws_a_clip(two_experts: FusedModel, clips: ClipSet) -> None:
    batch = clips.batch([0, 0, 1])
    sigma = torch.tensor([0.95, 0.2, 0.9])
    velocity = two_experts.velocity(batch.latents, sigma, batch)
    high, low = (
        FusedModel(replace(two_experts.base, transformer=transformer, transformer_2=None, info=info), fusion)
        for info in [two_experts.base.info.model_copy(update={"boundary": None})]
        for transformer, fusion in two_experts.attached
    )
    torch.testing.assert_close(velocity[1], low.velocity(batch.latents, sigma, batch)[1], atol=1e-5, rtol=0)
    torch.testing.assert_close(velocity[[0, 2]], high.velocity(batch.latents, sigma, batch)[[0, 2]], atol=1e-5, rtol=0)
    assert (velocity[0] - low.velocity(batch.latents, sigma, batch)[0]).abs().max() > 1e-2


def test_each_of_two_transformers_has_an_adapter_and_lora(two_experts: FusedModel) -> None:
    assert {name.split("/")[0] for name in two_experts.trainable()} == {"adapter", "lora", "adapter_2", "lora_2"}


def test_a_text_to_video_base_is_given_one_timestep_a_clip_and_no_first_frame(
    fused: Fused, clips: ClipSet, quick: Callable[..., Preset]
) -> None:
    model = fused()
    t2v = replace(model, base=replace(model.base, info=model.base.info.model_copy(update={"layout": "t2v"})))
    batch, given = clips.batch([0]), []
    model.base.transformer.register_forward_pre_hook(lambda _m, _a, kwargs: given.append(kwargs["timestep"]), with_kwargs=True)
    t2v.velocity(batch.latents, torch.tensor([0.5]), batch, first_frame=False)
    assert given[0].tolist() == [500.0]
    assert fixed_flow_loss(t2v, clips, quick(fixed_triples=2)) > 0
    assert PRESETS["wan2.1-t2v-14b"].train.first_frame_dropout == 1.0
