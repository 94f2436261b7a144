"""The way of reference tokens through the blocks, apart from the video's, and how the video reads them there.

Belongs here: the pass that carries the references from block to block, and the self-attention in which the video's tokens read
them. Not here: the tokens and their positions (`references`), the hooks that call this (`attach`).

Mv2ID appends the references to the video's sequence. That moves an untrained base: its attention spreads over tokens that it
was never trained with (flow loss 0.633 to 0.888 with two views, measured on drawn heads). Here, against the paper:

- References pass the blocks on their own, at timestep 0 on every base, and read each other and the text. Where every token has
  the video's timestep, clean tokens in its sequence would be taken for noisy ones.
- The video reads them in a softmax of its own, through a projection of low rank that begins at zero. A fresh adapter leaves the
  base as it is, bit for bit. A gate a head in its place is too narrow a way: after 225 steps on drawn heads another person's
  views changed nothing (similarity 0.343 against 0.344 with one's own).
"""

from typing import Any, NamedTuple

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from torch import nn

from model.bases.base import Transformer

Rotary = tuple[torch.Tensor, torch.Tensor]
"""Cosines and sines, (1 or B, L, 1, head width)."""


class ReferenceStates(NamedTuple):
    """What the blocks need to read the references."""

    hidden: torch.Tensor  # (blocks, B, N, D)  as they enter each block
    modulation: torch.Tensor  # (B, 6, D)      of timestep 0
    rotary: Rotary


class VideoPositions(NamedTuple):
    """What a block receives in place of the video's rotary embedding once references are given."""

    rotary: Rotary
    references: ReferenceStates


class ReferenceReader(nn.Module):
    """What one block's self-attention adds of the references: a projection of low rank that begins at zero.

    Args:
        width: of the block.
        rank: of the projection.
        block: its number.
    """

    def __init__(self, width: int, rank: int, block: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, rank, bias=False)
        self.up = nn.Linear(rank, width, bias=False)
        nn.init.zeros_(self.up.weight)
        # A tensor: with a number of its own, each block would be compiled anew.
        self.block: torch.Tensor
        self.register_buffer("block", torch.tensor([block]), persistent=False)

    def of_block(self, hidden: torch.Tensor) -> torch.Tensor:
        """(blocks, B, N, D) -> (B, N, D), this block's."""
        return hidden.index_select(0, self.block)[0]

    def forward(self, read: torch.Tensor) -> torch.Tensor:
        """(B, L, D), what the video's tokens read, all heads side by side -> (B, L, D)."""
        return self.up(self.down(read))


def carry_references(
    transformer: Transformer, tokens: torch.Tensor, rotary: Rotary, text: torch.Tensor, image: torch.Tensor | None
) -> ReferenceStates:
    """Reference tokens (B, N, D) through all blocks but the last, whose result nothing reads.

    Args:
        transformer: the base's.
        tokens: as `references.reference_tokens` gives them.
        rotary: their positions.
        text, image: what the forward is given of both, before it is embedded.
    """
    clean = torch.zeros(len(tokens), device=tokens.device)
    # forward, not the module: its hook is for the video.
    _, modulation, text, image = transformer.condition_embedder.forward(clean, text, image)
    modulation = modulation.unflatten(1, (6, -1))
    context = text if image is None else torch.cat([image, text], dim=1)
    states = [tokens]
    for block in transformer.blocks[:-1]:
        arguments = (states[-1], context, modulation, rotary)
        again = transformer.gradient_checkpointing and torch.is_grad_enabled()
        states.append(transformer._gradient_checkpointing_func(block, *arguments) if again else block(*arguments))
    return ReferenceStates(torch.stack(states), modulation, rotary)


def read_references(
    attn: Any, block: Any, reader: ReferenceReader, video: torch.Tensor, positions: VideoPositions, backend: Any
) -> torch.Tensor:
    """A block's self-attention over the video (B, L, D), plus what its tokens read in the references: (B, L, D).

    Args:
        attn: the block's self-attention, by whose weights the references are read too.
        block: for the norm and modulation that stand before it.
        reader: the block's.
        video: normalised and modulated.
        positions: of the video, with the references.
        backend: of the attention kernels; None: diffusers' choice.
    """
    references = positions.references
    hidden = reader.of_block(references.hidden)
    shift, scale = (block.scale_shift_table + references.modulation.float()).chunk(6, dim=1)[:2]
    views = (block.norm1(hidden.float()) * (1 + scale) + shift).type_as(hidden)
    query = _rotate(_heads(attn, attn.norm_q(attn.to_q(video))), positions.rotary)

    def attend(tokens: torch.Tensor, rotary: Rotary) -> torch.Tensor:
        key = _rotate(_heads(attn, attn.norm_k(attn.to_k(tokens))), rotary)
        return dispatch_attention_fn(query, key, _heads(attn, attn.to_v(tokens)), backend=backend).flatten(2, 3).type_as(query)

    own = attn.to_out[1](attn.to_out[0](attend(video, positions.rotary)))
    return own + reader(attend(views, references.rotary))


def _heads(attn: Any, projected: torch.Tensor) -> torch.Tensor:
    """(B, L, D) -> (B, L, heads, head width)."""
    return projected.unflatten(2, (attn.heads, -1))


def _rotate(heads: torch.Tensor, rotary: Rotary) -> torch.Tensor:
    """Rotary positions as Wan applies them: neighbouring numbers are a pair."""
    cosines, sines = (table[..., 0::2] for table in rotary)
    first, second = heads.unflatten(-1, (-1, 2)).unbind(-1)
    rotated = torch.stack([first * cosines - second * sines, first * sines + second * cosines], dim=-1)
    return rotated.flatten(-2).type_as(heads)
