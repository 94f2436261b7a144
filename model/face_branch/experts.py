"""The trainable half of the three face experts: projections to tokens of one shape, and an MLP each.

Belongs here: what turns the frozen encoders' features into equal (tokens, width). Not here: the encoders themselves
(`encoding.encoders`), the gate and the attention that reads the result (`fusion`).
"""

import torch
import torch.nn.functional as F
from torch import nn

EXPERTS = ("identity", "semantic", "detail")


class VectorProjection(nn.Module):
    """One vector to a few tokens: (B, D) -> (B, N, W)."""

    def __init__(self, in_width: int, tokens: int, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(in_width, tokens * width)
        self.norm = nn.LayerNorm(width)
        self.tokens = tokens

    def forward(self, vector: torch.Tensor) -> torch.Tensor:
        return self.norm(self.project(vector).unflatten(1, (self.tokens, -1)))


class SequenceProjection(nn.Module):
    """Any number of tokens to a few, pooled by learned queries: (B, S, D) -> (B, N, W)."""

    def __init__(self, in_width: int, tokens: int, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(in_width, width)
        self.queries = nn.Parameter(torch.randn(tokens, width) * width**-0.5)
        self.norm = nn.LayerNorm(width)

    def forward(self, sequence: torch.Tensor) -> torch.Tensor:
        x = self.project(sequence)
        queries = self.queries.to(x.dtype).expand(x.shape[0], -1, -1)
        return self.norm(F.scaled_dot_product_attention(queries, x, x))


class ExpertMLP(nn.Module):
    """An expert proper, on tokens (B, N, W); residual, so that a fresh one passes its projection on."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens + self.mlp(tokens)
