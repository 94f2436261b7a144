"""Does a preset fit a graphics card? Estimated before anything is loaded, and refused with the numbers where it cannot.

Belongs here: the estimate, in every mode of training, and its message. Not here: parameters and tokens (`preset_table`), the
table of presets and cards (`memory_table`), running out of memory all the same (`train`).

The estimate is a lower bound: weights, gradients and optimiser exactly, and of the activations what autograd keeps of the
blocks, as counted by its hooks on a real block. Left out are what a kernel needs while it runs, the gradients that a backward
hands on, CUDA's context and what lies unused between tensors. A preset that it refuses does not fit; one that it lets pass may
still run out.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch

from model.presets import PRESETS, Preset, Trainable
from model.training.preset_table import PresetSize, preset_size
from model.training.throughput import checkpointed

_GIB = 2**30


class _Kept(NamedTuple):
    """Tensors of a token's width that a block keeps for its backward, beside the feed-forward's wider one."""

    rounded: int
    """In the precision of the base."""
    float32: int


_KEPT: dict[Trainable, _Kept] = {
    "adapter": _Kept(7, 6),
    "adapter_and_cross_attention": _Kept(7, 7),
    "adapter_and_lora": _Kept(13, 6),
    "all": _Kept(10, 12),
}
_KEPT_COMPILED: dict[Trainable, _Kept] = {
    "adapter": _Kept(12, 0),
    "adapter_and_cross_attention": _Kept(15, 0),
    "adapter_and_lora": _Kept(17, 0),
    "all": _Kept(17, 0),
}
"""torch's partitioner keeps less, and computes again what is cheap; counted with LoRA and with cross-attention, guessed for the
others."""
_BLOCKS_FETCHED = {"offloaded": 2, "shared": 3}
"""Blocks whose weights are there at a time: the one that computes, the copy that its weights come through, and where they come
from other processes the one ahead."""


class PresetTooLarge(ValueError):
    """A preset cannot fit the card; the message has the numbers and names what would."""


@dataclass(frozen=True)
class MemoryEstimate:
    """What one process needs on its card, in GiB."""

    weights: float
    """Frozen and trained."""
    optimiser: float
    """Gradients and AdamW's moments; the moving average waits in host memory."""
    activations: float
    """Of a forward of `forward_clips` clips."""
    host: float
    """Page-locked, of the host's memory: weights that wait there. No part of `total`."""

    @property
    def total(self) -> float:
        """On the card."""
        return self.weights + self.optimiser + self.activations


def estimate_memory(preset: Preset, processes: int = 1, size: PresetSize | None = None) -> MemoryEstimate:
    """What training `preset` needs, with as many processes sharing a batch.

    Args:
        size: of the preset, where it is known; counting takes seconds.
    """
    config, wan, size = preset.train, preset.base.transformer, size or preset_size(preset)
    number_bytes = 2 if config.precision == "bfloat16" else 4
    frozen = size.base_parameters + size.adapter_parameters + size.lora_parameters - size.trained_parameters
    a_block = size.movable_parameters / (preset.base.experts * (wan.num_layers + len(wan.vace_layers or ())))
    shared = config.shard_base and processes > 1
    own = size.movable_parameters / (processes if shared else 1)
    there = float(size.movable_parameters)
    if shared or config.offload_base:
        fetched = _BLOCKS_FETCHED["shared" if shared else "offloaded"] * a_block
        there = min(there, fetched) + (0 if config.offload_base else own)
    return MemoryEstimate(
        weights=(number_bytes * (frozen - size.movable_parameters + there) + 4 * size.trained_parameters) / _GIB,
        optimiser=12 * size.trained_parameters / _GIB,
        activations=_activation_bytes(preset, size, processes, number_bytes) / _GIB,
        host=number_bytes * own / _GIB if config.offload_base else 0.0,
    )


def _activation_bytes(preset: Preset, size: PresetSize, processes: int, number_bytes: int) -> float:
    config, wan = preset.train, preset.base.transformer
    share = -(-config.batch_size // processes)
    clips = min(share, config.forward_clips or share)
    tokens = clips * (size.video_tokens + size.reference_tokens)
    kept = (_KEPT_COMPILED if config.compile_blocks else _KEPT)[config.trainable]
    within = tokens * ((kept.rounded * wan.width + wan.ffn_dim) * number_bytes + kept.float32 * wan.width * 4)
    vace_blocks = len(wan.vace_layers or ())
    unreached = 0 if _reaches_vace_blocks(preset) else vace_blocks
    twice = max(0, checkpointed(config, wan.num_layers + vace_blocks) - unreached)
    whole = wan.num_layers + vace_blocks - unreached - twice
    # Blocks that keep everything are done with before the first is computed again.
    return twice * tokens * wan.width * number_bytes + max(whole, 1) * within


def _reaches_vace_blocks(preset: Preset) -> bool:
    """Whether gradients flow through them: they train, or the aligner joins the video that they read."""
    aligner = preset.fusion.aligner
    joined = aligner is not None and aligner.joins == "input"
    return joined or preset.train.trainable in ("adapter_and_lora", "all")


def check_fits(preset: Preset, memory_gib: float, processes: int = 1) -> None:
    """Raises:
    PresetTooLarge: it needs more than `memory_gib`.
    """
    needed = estimate_memory(preset, processes)
    if needed.total <= memory_gib:
        return
    fitting = [name for name, other in PRESETS.items() if estimate_memory(other, processes).total <= memory_gib]
    raise PresetTooLarge(
        f"preset {preset.name} needs at least {needed.total:.1f} GiB (weights {needed.weights:.1f}, gradients and optimiser "
        f"{needed.optimiser:.1f}, activations {needed.activations:.1f}), the card has {memory_gib:.1f}. To save "
        f"memory: {', '.join(what_to_lower(preset))}. Presets that would fit: {', '.join(fitting) or 'none'}"
    )


def what_to_lower(preset: Preset) -> list[str]:
    """The settings that save memory and are not at their least yet, those that cost least first."""
    config, fusion = preset.train, preset.fusion
    a_forward = config.forward_clips or config.batch_size
    wishes = [
        ("set train.precision to bfloat16", config.precision != "bfloat16"),
        ("set train.gradient_checkpointing to 1", config.gradient_checkpointing < 1),
        (f"lower train.forward_clips ({a_forward})", a_forward > 1),
        ("lower fusion.aligner.pairs or fusion.aligner.chunk", fusion.aligner is not None),
        ("set train.shard_base on several GPUs", not config.shard_base and config.trainable != "all"),
        ("set train.offload_base", not config.offload_base and config.trainable != "all"),
        (f"lower clip.frames ({preset.clip.frames})", preset.clip.frames > 1),
        (f"lower clip.height and clip.width ({preset.clip.height} x {preset.clip.width})", True),
        (f"lower train.lora_rank ({config.lora_rank})", config.trainable == "adapter_and_lora"),
    ]
    return [wish for wish, open_ in wishes if open_]


def card_memory_gib(device: torch.device) -> float | None:
    """Memory of the graphics card; None on a CPU, whose memory is not the trainer's alone."""
    return torch.cuda.get_device_properties(device).total_memory / _GIB if device.type == "cuda" else None
