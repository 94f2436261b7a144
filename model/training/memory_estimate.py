"""Does a preset fit a graphics card? Estimated before anything is loaded, and refused with the numbers where it cannot.

Belongs here: the estimate and its message. Not here: parameters and tokens (`preset_table`), running out of memory all the
same (`train`).

The estimate is a lower bound: weights, gradients and optimiser exactly, and of the activations those that the blocks' backward
cannot do without. A preset that it refuses does not fit; one that it lets pass may still run out.
"""

from dataclasses import dataclass

import torch

from model.presets import PRESETS, Preset
from model.training.preset_table import preset_size

_GIB = 2**30
_WIDTHS_KEPT = 8
"""Tensors of a token's width that a block keeps for its backward, beside the feed-forward's two wider ones: normed inputs of
three layers, query, key and value of self-attention, its output, query of cross-attention."""


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

    @property
    def total(self) -> float:
        """All of it."""
        return self.weights + self.optimiser + self.activations


def estimate_memory(preset: Preset, processes: int = 1) -> MemoryEstimate:
    """What training `preset` needs, with as many processes sharing a batch."""
    config, wan, size = preset.train, preset.base.transformer, preset_size(preset)
    number_bytes = 2 if config.precision == "bfloat16" else 4
    frozen = size.base_parameters + size.adapter_parameters + size.lora_parameters - size.trained_parameters
    frozen_bytes = number_bytes * frozen / (processes if config.shard_base else 1)
    share = -(-config.batch_size // processes)
    clips = min(share, config.forward_clips or share)
    inputs = clips * (size.video_tokens + size.reference_tokens) * wan.width * number_bytes
    within = inputs * (_WIDTHS_KEPT + 2 * wan.ffn_dim / wan.width)
    blocks = wan.num_layers + (len(wan.vace_layers or ()) if _reaches_vace_blocks(preset) else 0)
    activations = blocks * inputs + within if config.gradient_checkpointing else blocks * within
    return MemoryEstimate(
        weights=(frozen_bytes + 4 * size.trained_parameters) / _GIB,
        optimiser=12 * size.trained_parameters / _GIB,
        activations=activations / _GIB,
    )


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
        ("set train.gradient_checkpointing", not config.gradient_checkpointing),
        (f"lower train.forward_clips ({a_forward})", a_forward > 1),
        ("lower fusion.aligner.pairs or fusion.aligner.chunk", fusion.aligner is not None),
        ("set train.shard_base on several GPUs", not config.shard_base),
        (f"lower clip.frames ({preset.clip.frames})", preset.clip.frames > 1),
        (f"lower clip.height and clip.width ({preset.clip.height} x {preset.clip.width})", True),
        (f"lower train.lora_rank ({config.lora_rank})", config.trainable == "adapter_and_lora"),
    ]
    return [wish for wish, open_ in wishes if open_]


def card_memory_gib(device: torch.device) -> float | None:
    """Of the graphics card; None on a CPU, whose memory is not the trainer's alone."""
    return torch.cuda.get_device_properties(device).total_memory / _GIB if device.type == "cuda" else None
