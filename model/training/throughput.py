"""Floating-point operations of a training step by a closed formula, and what graphics cards can do.

Belongs here: the formula and the table of peaks, behind MFU and HFU. Not here: measuring (`report`).

With d the width, f the feed-forward's, n blocks, T tokens and c rows of text (and of CLIP, in an image branch), one forward costs
n (2T (6d^2 + 2df) + 4cd^2) in linear layers and n (4T^2 d + 4Tcd) in attention; a VACE block is one more of the n, with a
projection 2Td^2 out of it and one into the first. torch's FlopCounterMode counts the same to 1 %. A backward costs the
linear layers once more for the inputs and once for the weights where they train, and flash attention 2.5 times over.
"""

from typing import NamedTuple

import torch

from model.bases.specs import WanConfig
from model.presets import CLIP_IMAGE_ROWS, TEXT_ROWS, TrainConfig

PEAKS_FLOP_PER_S = {
    # Dense bfloat16, summed in float32, from NVIDIA's papers. The longer of two names that fit is meant: H20 is part of H200.
    "B200": 2250e12,
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "RTX 4090": 165e12,
    "H20": 148e12,
}


class StepFlop(NamedTuple):
    """Operations of training on one clip."""

    model: float
    """Forward and a backward for inputs and weights: the convention behind MFU, whatever is really computed."""
    hardware: float
    """What is really computed: no weight gradients of frozen layers, blocks computed again under checkpointing."""


def step_flop(wan: WanConfig, tokens: int, config: TrainConfig) -> StepFlop:
    """Operations for one clip of `tokens` tokens; the face branch, under a percent, is left out."""
    width, vace_blocks = wan.width, len(wan.vace_layers or ())
    blocks, rows = wan.num_layers + vace_blocks, TEXT_ROWS + (CLIP_IMAGE_ROWS if wan.image_dim else 0)
    linear = blocks * (2 * tokens * (6 * width**2 + 2 * width * wan.ffn_dim) + 4 * rows * width**2)
    linear += 2 * tokens * width**2 * (vace_blocks + min(vace_blocks, 1))
    attention = blocks * (4 * tokens**2 * width + 4 * tokens * rows * width)
    trained, again = int(config.trainable == "all"), checkpointed(config, blocks) / blocks
    return StepFlop(model=3.0 * (linear + attention), hardware=(2.0 + trained + again) * linear + (3.5 + again) * attention)


def checkpointed(config: TrainConfig, blocks: int) -> int:
    """How many of so many blocks keep their inputs alone and are computed twice."""
    return round(config.gradient_checkpointing * blocks)


def peak_flop_per_s(device: torch.device) -> float | None:
    """Peak of the card in dense bfloat16; None where it is not in the table."""
    if device.type != "cuda":
        return None
    name = card_of(torch.cuda.get_device_name(device))
    return None if name is None else PEAKS_FLOP_PER_S[name]


def card_of(name: str) -> str | None:
    """The card of the table that is called `name`, by its driver or in short ("4090"); None where none is."""
    called = name.lower()
    known = sorted((key for key in PEAKS_FLOP_PER_S if key.lower() in called), key=len)
    short = [key for key in PEAKS_FLOP_PER_S if called in key.lower().split()]
    return known[-1] if known else short[0] if short else None
