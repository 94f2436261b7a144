"""Number formats, checkpointing, compilation and kernels: each does what the config says, and nothing of it lasts."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.attention_dispatch import attention_backend

from model.bases.base import load_base
from model.clips.clip_set import ClipSet
from model.face_branch.references import References
from model.face_branch.trainable import FusedModel, assemble
from model.presets import Preset
from model.training.execution import autocast, load_for_training, prepare, reproducible
from tests.model.training.conftest import ALONE, CPU

Quick = Callable[..., Preset]


def _counted(computed: list[int], number: int, compute: Callable[..., Any], *args: Any) -> Any:
    computed[number] += 1
    return compute(*args)


def prepared(base_dir: Path, clips: ClipSet, preset: Preset) -> FusedModel:
    base = load_for_training(base_dir, preset.train, draws=False)
    model = assemble(base, clips.batch([0]).face, preset.fusion, preset.train)
    prepare(model, preset.train, ALONE)
    return model


def test_in_bfloat16_what_trains_and_the_islands_are_float32(base_dir: Path, clips: ClipSet, quick: Quick) -> None:
    model = prepared(base_dir, clips, quick(precision="bfloat16", trainable="adapter_and_lora"))
    transformer = model.base.transformer
    assert {value.dtype for value in model.trainable().values()} == {torch.float32}
    assert transformer.blocks[0].attn1.to_q.base_layer.weight.dtype == torch.bfloat16
    assert transformer.blocks[0].scale_shift_table.dtype == torch.float32
    embedder = transformer.condition_embedder.time_embedder
    seen = torch.arange(0, 1000.0)[:, None].repeat(1, transformer.config.freq_dim) / 1000
    with autocast(quick(precision="bfloat16").train, CPU):
        embedded = embedder(seen)
        assert torch.nn.Linear(4, 4)(torch.ones(1, 4)).dtype == torch.bfloat16
    assert embedded.dtype == torch.float32
    assert torch.equal(embedded, embedder(seen))


def test_encoders_are_loaded_only_where_videos_are_drawn(base_dir: Path, quick: Quick) -> None:
    for draws, device in ((True, "cpu"), (False, "meta")):
        base = load_for_training(base_dir, quick().train, draws=draws)
        assert {next(part.parameters()).device.type for part in (base.text_encoder, base.image_encoder)} == {device}
        assert next(base.transformer.parameters()).device.type == "cpu"


def test_what_trains_whole_is_not_rounded_first(base_dir: Path, clips: ClipSet, quick: Quick) -> None:
    model = prepared(base_dir, clips, quick(precision="bfloat16", trainable="all"))
    stored = load_base(base_dir, "cpu").transformer.state_dict()
    assert all(torch.equal(value, stored[name]) for name, value in model.base.transformer.state_dict().items())


def test_blocks_are_computed_twice_by_choice_and_no_gradient_changes(base_dir: Path, clips: ClipSet, quick: Quick) -> None:
    """None of two, the first, both; the references pass a block by themselves, all but the last."""
    gradients, batch = [], clips.batch([0, 1], views=[[1, 2], [1, 2]])
    for share, times in ((0.0, [2, 1]), (0.5, [4, 1]), (1.0, [4, 2])):
        model = prepared(base_dir, clips, quick(gradient_checkpointing=share, trainable="adapter_and_lora"))
        model.set_training(True)
        computed = [0, 0]
        for number, block in enumerate(model.base.transformer.blocks):
            block.forward = partial(_counted, computed, number, block.forward)
        views = References(batch.references)
        velocity = model.velocity(batch.latents, torch.tensor([0.3, 0.8]), batch, references=views)
        velocity.square().mean().backward()
        gradients.append({name: value.grad for name, value in model.trainable().items() if value.grad is not None})
        assert computed == times
    for others in gradients[1:]:
        assert gradients[0].keys() == others.keys()
        assert all(torch.equal(gradient, others[name]) for name, gradient in gradients[0].items())


@pytest.mark.parametrize("wanted", [False, True])
def test_blocks_are_compiled_where_the_config_says_so(
    base_dir: Path, clips: ClipSet, quick: Quick, monkeypatch: pytest.MonkeyPatch, wanted: bool
) -> None:
    compiled: list[tuple[str, bool]] = []
    monkeypatch.setattr(
        torch, "compile", lambda forward, fullgraph: compiled.append((type(forward.__self__).__name__, fullgraph))
    )
    model = prepared(base_dir, clips, quick(compile_blocks=wanted))
    assert compiled == ([("WanTransformerBlock", True)] * model.base.transformer.config.num_layers if wanted else [])


def test_the_attention_kernel_reaches_the_blocks_and_the_face_branch(base_dir: Path, clips: ClipSet, quick: Quick) -> None:
    with attention_backend("native"):  # diffusers sets it for the whole process
        model = prepared(base_dir, clips, quick(attention="_native_math"))
    backends = {str(processor._attention_backend) for processor in model.base.transformer.attn_processors.values()}
    assert len(backends) == 1
    assert "math" in backends.pop().lower()


def test_deterministic_kernels_are_asked_for_while_it_is_open() -> None:
    with reproducible(True):
        assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
    with reproducible(False):
        assert not torch.are_deterministic_algorithms_enabled()
