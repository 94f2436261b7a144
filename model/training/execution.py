"""How a model computes in training: number formats, checkpointing, compilation, attention kernels, determinism.

Belongs here: what changes speed and memory but not what is learned. Not here: what is computed.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from model.bases.base import ENCODERS, TRANSFORMERS, Base, Transformer, load_base
from model.face_branch.trainable import FusedModel
from model.presets import TrainConfig
from model.training.parallel import Ranks
from model.training.throughput import checkpointed
from model.training.weight_offload import blocks_of, place

_BFLOAT16 = "bfloat16"


def load_for_training(folder: Any, config: TrainConfig, *, draws: bool) -> Base:
    """The base in host memory: `prepare` brings to the device what computes there.

    Args:
        draws: this process will draw videos. Encoders and VAE wait for it in host memory; without, they are not loaded.

    Raises:
        BaseError: there is no base, its files are not those it was recorded with, or it is not whole.
    """
    weights = TRANSFORMERS | ENCODERS if draws else TRANSFORMERS
    return load_base(folder, "cpu", torch.bfloat16 if config.rounds_base else None, weights=weights)


def prepare(model: FusedModel, config: TrainConfig, ranks: Ranks) -> None:
    """Makes `model` compute on this process's device as `config` says. Trained tensors are float32 whatever the base is in."""
    for parameter in model.trainable().values():
        parameter.data = parameter.data.float()
    for transformer, fusion in model.attached:
        fusion.to(ranks.device)
        if config.precision == _BFLOAT16:
            _keep_float32(transformer.condition_embedder.time_embedder, ranks.device)
        if config.attention != "native":
            transformer.set_attention_backend(config.attention)
        if config.gradient_checkpointing:
            _checkpoint_blocks(transformer, config)
        if config.compile_blocks:
            for block in blocks_of(transformer):
                # Its forward, not the block: what fetches a block's weights (`weight_offload`) is called outside of it,
                # uncompiled.
                block.forward = torch.compile(block.forward, fullgraph=True)
        place(transformer, config, ranks)


def autocast(config: TrainConfig, device: torch.device) -> torch.autocast:
    """Matrix products and attention in bfloat16 where the config says so; norms and losses stay in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=config.precision == _BFLOAT16)


@contextmanager
def evaluating(model: FusedModel) -> Iterator[None]:
    """`model` in evaluation mode; afterwards training goes on as if nothing had been drawn from torch's generators."""
    gpus = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        model.set_training(False)
        try:
            yield
        finally:
            model.set_training(True)


@contextmanager
def reproducible(wanted: bool) -> Iterator[None]:
    """Kernels that give the same bits for the same inputs, where `wanted`; as before when it closes."""
    before = torch.are_deterministic_algorithms_enabled()
    if wanted:
        # cuBLAS reads it when it is first used.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _checkpoint_blocks(transformer: Transformer, config: TrainConfig) -> None:
    """The first blocks, not the last: those that keep everything are then done with before any is computed a second time."""
    blocks = blocks_of(transformer)
    twice = set(blocks[: checkpointed(config, len(blocks))])

    def compute(block: nn.Module, *arguments: Any) -> Any:
        return checkpoint(block, *arguments, use_reentrant=False) if block in twice else block(*arguments)

    transformer.enable_gradient_checkpointing(compute)


def _keep_float32(module: nn.Module, device: torch.device) -> None:
    """Autocast would round what diffusers keeps in float32 when it loads a base; 1000 timesteps would become 353."""
    compute = module.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast(device.type, enabled=False):
            return compute(*args, **kwargs)

    module.forward = forward
