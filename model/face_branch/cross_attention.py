"""Cross-attention with normalised queries and keys, several heads, and a width of its own.

Belongs here: the one module by which anything of the face branch reads tokens. Not here: who reads what: queries that read an
encoder's features (`experts`), video tokens that read the fused face (`fusion`).
"""

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from torch import nn


class CrossAttention(nn.Module):
    """Tokens of one width read tokens of another.

    Args:
        reader_width: of the tokens that read, and of the result.
        read_width: of the tokens that are read.
        width: of queries, keys and values.
        head_width: of one head; divides `width`.
        silent: the result begins at zero.
    """

    def __init__(self, reader_width: int, read_width: int, width: int, head_width: int, *, silent: bool = False) -> None:
        super().__init__()
        self.heads = width // head_width
        self.query = nn.Linear(reader_width, width, bias=False)
        self.key = nn.Linear(read_width, width, bias=False)
        self.value = nn.Linear(read_width, width, bias=False)
        self.norm_query = nn.RMSNorm(head_width)
        self.norm_key = nn.RMSNorm(head_width)
        self.out = nn.Linear(width, reader_width, bias=False)
        if silent:
            nn.init.zeros_(self.out.weight)

    def forward(self, reader: torch.Tensor, read: torch.Tensor, backend: object = None) -> torch.Tensor:
        """reader (B, L, reader_width), read (B, N, read_width) -> (B, L, reader_width)."""
        query, key, value = (
            projected.unflatten(2, (self.heads, -1))  # (B, L or N, heads, head_width)
            for projected in (self.query(reader), self.key(read), self.value(read))
        )
        attended = dispatch_attention_fn(self.norm_query(query), self.norm_key(key), value, backend=backend)
        return self.out(attended.flatten(2, 3))
