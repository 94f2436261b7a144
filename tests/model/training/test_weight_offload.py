"""Weights that wait in host memory, on a CPU: FSDP2 frees and fetches them there by the same calls, from memory to memory."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor

from model.bases.base import load_base
from model.bases.build import build_tiny_base
from model.clips.clip_set import ClipSet
from model.face_branch.trainable import FusedModel, assemble
from model.presets import Preset
from model.training.execution import autocast, load_for_training, prepare
from model.training.parallel import Ranks, join_ranks
from model.training.train import TrainingError, train
from model.training.weight_offload import blocks_of
from tests.model.layouts import TINY_VACE

Quick = Callable[..., Preset]


@pytest.fixture(autouse=True)
def ranks() -> Iterator[Ranks]:
    with join_ranks("cpu") as alone:
        yield alone
    assert not dist.is_initialized()


def learned(model: FusedModel, clips: ClipSet, preset: Preset) -> tuple[float, dict[str, torch.Tensor], list[list[int]]]:
    """Loss and gradients of the second of two forwards and backwards, and in each call of a block, which blocks are there."""
    batch, there = clips.batch([0, 1]), []
    blocks = blocks_of(model.base.transformer)
    for block in blocks:
        compute = block.forward

        def noting(*args: Any, compute: Callable[..., Any] = compute, **named: Any) -> Any:
            there.append([number for number, one in enumerate(blocks) if not isinstance(one.ffn.net[2].weight, DTensor)])
            return compute(*args, **named)

        block.forward = noting
    model.set_training(True)
    for _ in range(2):
        for value in model.trainable().values():
            value.grad = None
        with autocast(preset.train, model.device):
            loss = model.velocity(batch.latents, torch.tensor([0.3, 0.8]), batch).float().square().mean()
        loss.backward()
    return float(loss), {name: value.grad for name, value in model.trainable().items() if value.grad is not None}, there


@pytest.mark.parametrize(
    "how",
    [{}, {"gradient_checkpointing": 0.5, "precision": "bfloat16"}, {"compile_blocks": True, "gradient_checkpointing": 1.0}],
    ids=str,
)
def test_a_base_that_waits_in_host_memory_learns_the_same_bits(
    base_dir: Path, clips: ClipSet, quick: Quick, ranks: Ranks, monkeypatch: pytest.MonkeyPatch, how: dict[str, Any]
) -> None:
    compile_forward, found = torch.compile, []
    monkeypatch.setattr(torch, "compile", lambda forward, **how: compile_forward(forward, backend="eager", **how))
    for offload in (False, True):
        # Compiled or not, by torch's own kernels it learns the same bits.
        preset = quick(trainable="adapter_and_lora", **how | ({"offload_base": True} if offload else {"compile_blocks": False}))
        model = assemble(
            load_for_training(base_dir, preset.train, draws=False), clips.batch([0]).face, preset.fusion, preset.train
        )
        prepare(model, preset.train, ranks)
        found.append(learned(model, clips, preset))
    (loss, gradients, _), (loss_offloaded, gradients_offloaded, there) = found
    assert loss_offloaded == loss
    assert gradients_offloaded.keys() == gradients.keys()
    assert all(torch.equal(value, gradients_offloaded[name]) for name, value in gradients.items())
    assert {len(blocks) for blocks in there} == {1}, "no more than the block that computes"
    weights = [layer.weight for block in blocks_of(model.base.transformer) for layer in block.modules() if _is_bulk(layer)]
    assert all(isinstance(weight, DTensor) for weight in weights), "nothing is left where it computed"


def test_what_is_small_or_trains_stays(tmp_path: Path, quick: Quick, clips: ClipSet, ranks: Ranks) -> None:
    """Side blocks' weights go, too."""
    build_tiny_base(tmp_path, spec=TINY_VACE)
    preset = quick(trainable="adapter_and_lora", offload_base=True)
    model = assemble(load_base(tmp_path, "cpu"), clips.batch([0]).face, preset.fusion, preset.train)
    prepare(model, preset.train, ranks)
    gone = {name for name, value in model.base.transformer.named_parameters() if isinstance(value, DTensor)}
    assert {name.split(".")[0] for name in gone} == {"blocks", "vace_blocks"}
    assert not gone & set(model.trainable())
    whole = sum(value.numel() for block in blocks_of(model.base.transformer) for value in block.parameters())
    left = sum(value.numel() for value in model.base.transformer.parameters() if isinstance(value, DTensor))
    assert left / whole > 0.8


@pytest.mark.parametrize("setting", ["shard_base", "offload_base"])
def test_what_trains_whole_cannot_go(quick: Quick, clip_list: Path, base_dir: Path, tmp_path: Path, setting: str) -> None:
    with pytest.raises(TrainingError, match="set both to False"):
        train(quick(trainable="all", **{setting: True}), clip_list, base_dir, tmp_path, print, dataset_version="v1", device="cpu")


def _is_bulk(layer: torch.nn.Module) -> bool:
    return isinstance(layer, torch.nn.Linear) and not layer.weight.requires_grad
