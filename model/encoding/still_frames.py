"""A video that stands still from some frame on, through Wan's VAE: what would be computed again is the same, and is not.

Belongs here: leaving out blocks of diffusers' encoder. Not here: which videos stand still (`condition_encoder`).

The encoder is given four frames at a time, and every convolution keeps the last frames that it was given. A block that is given
what it was given before, and has kept what it had kept before, gives what it gave before, bit for bit. The first blocks look few
frames back and come to that soon, and they have most of the pixels: of a first frame and 80 grey ones in 480p, 53 of 164 TFLOP
are left.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


class _Chain:
    """Blocks in a row of which the first few are settled.

    Attributes:
        settled: how many.
        given: what the first one was given.
        shown: what the last settled one gave.
    """

    def __init__(self) -> None:
        self.settled = 0
        self.given: torch.Tensor | None = None
        self.shown: torch.Tensor | None = None

    def begin(self, given: torch.Tensor) -> None:
        if self.given is None or not torch.equal(given, self.given):
            self.settled = 0
        self.given = given


class _Link(nn.Module):
    """One of diffusers' blocks, called as the encoder calls it: `feat_cache` has what was kept, `feat_idx` whose turn it is."""

    def __init__(self, block: nn.Module, number: int, chain: _Chain) -> None:
        super().__init__()
        self.block, self.number, self.chain = block, number, chain
        self.end = 0

    def forward(self, x: torch.Tensor, feat_cache: list[Any], feat_idx: list[int]) -> torch.Tensor:
        chain = self.chain
        if self.number == 0:
            chain.begin(x)
        if self.number < chain.settled:
            feat_idx[0] = self.end
            # Nobody looks at what goes from one settled block to the next.
            return chain.shown if self.number == chain.settled - 1 and chain.shown is not None else x
        begin, before = feat_idx[0], list(feat_cache)
        shown: torch.Tensor = self.block(x, feat_cache=feat_cache, feat_idx=feat_idx)
        self.end = feat_idx[0]
        kept = zip(before[begin : self.end], feat_cache[begin : self.end], strict=True)
        if self.number == chain.settled and all(old is not None and torch.equal(old, new) for old, new in kept):
            chain.settled, chain.shown = self.number + 1, shown
        return shown


@contextmanager
def left_out_where_still(encoder: Any) -> Iterator[None]:
    """Meanwhile `encoder`, of diffusers' `AutoencoderKLWan`, computes no block that has settled. What it gives is the same."""
    blocks, chain = encoder.down_blocks, _Chain()
    encoder.down_blocks = nn.ModuleList(_Link(block, number, chain) for number, block in enumerate(blocks))
    try:
        yield
    finally:
        encoder.down_blocks = blocks
