"""The trainable half of the three face experts: projections to tokens of one shape, and an MLP each.

Belongs here: what turns the frozen encoders' features into equal (tokens, width). Not here: the encoders themselves
(`encoding.encoders`), the gate and the attention that reads the result (`fusion`).

Source: the papers say one trainable projection a branch (CoFE v3 and MoFE v1, figures), no more. Ours: identity is one vector, so
a linear layer; semantic and detail are grids of tokens, so a resampler as IP-Adapter Plus and Perceiver have it. Its keys know
their place on the face, and its queries can look at one of them: pooling by queries without places covers all tokens alike and
cannot tell where a mark is.
"""

import math
from functools import lru_cache

import torch
from diffusers.models.embeddings import get_2d_sincos_pos_embed
from torch import nn

from model.face_branch.cross_attention import CrossAttention

EXPERTS = ("identity", "semantic", "detail")

_LOOKED_AT = 36
"""Tokens that a fresh query covers, of however many: the weights of normal logits with spread s cover exp(-s^2 / 2) of them."""
_LEAST_SHARPNESS = 2.0


class VectorProjection(nn.Module):
    """One vector to a few tokens: (B, D) -> (B, N, W)."""

    def __init__(self, in_width: int, tokens: int, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(in_width, tokens * width)
        self.norm = nn.LayerNorm(width)
        self.tokens = tokens

    def forward(self, vector: torch.Tensor) -> torch.Tensor:
        return self.norm(self.project(vector).unflatten(1, (self.tokens, -1)))


class Resampler(nn.Module):
    """The tokens of a square picture to a few: (B, S, D) -> (B, N, W).

    The last side x side of the S tokens are its patches, row by row; what stands before them (CLIP's class token, DINOv2's
    registers) has no place.

    Args:
        in_width: D.
        tokens: N, learned queries.
        width: W, a multiple of 4 and of `heads`.
        layers: how often the queries look.
        heads: of every look.
    """

    def __init__(self, in_width: int, tokens: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.project = nn.Linear(in_width, width)
        self.queries = nn.Parameter(torch.randn(tokens, width))
        self.layers = nn.ModuleList(_Look(width, width // heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def sharpen(self, tokens: int) -> None:
        """Have the fresh queries cover as few tokens of a picture of so many as of a small one."""
        sharpness = math.sqrt(2 * max(0.0, math.log(tokens / _LOOKED_AT)))
        for look in self.layers:
            assert isinstance(look, _Look)
            nn.init.constant_(look.attention.norm_query.weight, max(_LEAST_SHARPNESS, sharpness))

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        keys = self.project(picture)
        keys = keys + places(picture.shape[1], keys.shape[2], keys.device).to(keys.dtype)
        tokens = self.queries.to(keys.dtype).expand(len(picture), -1, -1)
        for look in self.layers:
            tokens = look(tokens, keys)
        return self.norm(tokens)


class _Look(nn.Module):
    """One layer of a resampler: the tokens read the keys, then pass an MLP; both residual."""

    def __init__(self, width: int, head_width: int) -> None:
        super().__init__()
        self.norm_tokens = nn.LayerNorm(width)
        self.norm_keys = nn.LayerNorm(width)
        self.attention = CrossAttention(width, width, width, head_width)
        self.mlp = ExpertMLP(width)

    def forward(self, tokens: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        return self.mlp(tokens + self.attention(self.norm_tokens(tokens), self.norm_keys(keys)))


class ExpertMLP(nn.Module):
    """An expert proper, on tokens (B, N, W); residual, so that a fresh one passes its projection on."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens + self.mlp(tokens)


@lru_cache(maxsize=8)
def places(tokens: int, width: int, device: torch.device) -> torch.Tensor:
    """(S, W): sines and cosines of each token's row and column, in the same units for every side; zeros for what has no place."""
    side = math.isqrt(tokens)
    extra = tokens - side**2
    return get_2d_sincos_pos_embed(width, side, cls_token=extra > 0, extra_tokens=extra, device=device, output_type="pt").float()
