"""Joins a `FaceFusion` to an unmodified diffusers Wan transformer, and parts them again.

Belongs here: the three public touch points (attention processors, forward pre-hook, hook on the condition embedder). Not
here: any parameter; the transformer's state dict keeps exactly its own keys.

The face's tokens enter as `attention_kwargs={"face": FaceTokens}`, which every stock Wan pipeline hands down, and travel to
the blocks inside what they take for text. They are never kept on a module: with gradient checkpointing a second forward
before the backward would otherwise recompute the first one with the wrong face, silently.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from diffusers import WanTransformer3DModel
from torch import nn

from model.fusion import FaceFusion, FaceTokens

FACE = "face"
"""The key of the face's tokens in `attention_kwargs`."""


class FaceContext(NamedTuple):
    """What a block receives in place of text once a face is given."""

    text: torch.Tensor  # (B, [257 +] 512, D)  what diffusers would have passed
    face: FaceTokens


class FaceCrossAttention:
    """A block's own cross-attention processor, plus the face branch. Owns no parameter, so it adds no key."""

    def __init__(self, base: Any, gate: nn.Module, attention: nn.Module) -> None:
        self.base = base
        self.gate = gate
        self.attention = attention

    # diffusers sets these two on whatever processor it finds; both belong to the wrapped one.
    @property
    def _attention_backend(self) -> Any:
        return self.base._attention_backend

    @_attention_backend.setter
    def _attention_backend(self, backend: Any) -> None:
        self.base._attention_backend = backend

    @property
    def _parallel_config(self) -> Any:
        return self.base._parallel_config

    @_parallel_config.setter
    def _parallel_config(self, config: Any) -> None:
        self.base._parallel_config = config

    def __call__(
        self,
        attn: nn.Module,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | FaceContext | None = None,
        attention_mask: torch.Tensor | None = None,
        rotary_emb: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        if not isinstance(encoder_hidden_states, FaceContext):
            return self.base(attn, hidden_states, encoder_hidden_states, attention_mask, rotary_emb)
        text, face = encoder_hidden_states
        weights = self.gate(face.pooled)  # (B, 3)
        fused = torch.einsum("be,benw->bnw", weights, face.experts)
        attended = self.base(attn, hidden_states, text, attention_mask, rotary_emb)
        return attended + self.attention(hidden_states, fused, self._attention_backend)


def attach(fusion: FaceFusion, transformer: WanTransformer3DModel) -> Callable[[], None]:
    """Lets `transformer` read `attention_kwargs["face"]`; without it the transformer stays the base, bit for bit.

    One forward at a time: between pre-hook and condition embedder the tokens are in this attachment's hands.

    Returns:
        A function that takes everything off again.

    Raises:
        ValueError: the transformer has another depth or width, or already carries a fusion.
    """
    _check_fit(fusion, transformer)
    before = dict(transformer.attn_processors)
    joined = dict(before)
    for block, attention in enumerate(fusion.attentions):
        name = f"blocks.{block}.attn2.processor"
        joined[name] = FaceCrossAttention(before[name], fusion.gate(block), attention)
    transformer.set_attn_processor(joined)
    in_flight: list[FaceTokens] = []

    def take_face(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        in_flight.clear()
        remaining = dict(kwargs.get("attention_kwargs") or {})
        face = remaining.pop(FACE, None)
        if face is not None:
            in_flight.append(face)
        return args, {**kwargs, "attention_kwargs": remaining or None}

    def wrap_text(_module: nn.Module, _args: tuple[Any, ...], output: tuple[Any, ...]) -> tuple[Any, ...]:
        if not in_flight:
            return output
        temb, projected_temb, text, image = output
        joined_text = text if image is None else torch.cat([image, text], dim=1)
        return temb, projected_temb, FaceContext(joined_text, in_flight.pop()), None

    hooks = [
        transformer.register_forward_pre_hook(take_face, with_kwargs=True),
        transformer.condition_embedder.register_forward_hook(wrap_text),
    ]

    def detach() -> None:
        for hook in hooks:
            hook.remove()
        # set_attn_processor empties the dict it is given.
        transformer.set_attn_processor(dict(before))

    return detach


def _check_fit(fusion: FaceFusion, transformer: WanTransformer3DModel) -> None:
    wan = transformer.config
    needed = (wan.num_layers, wan.num_attention_heads * wan.attention_head_dim)
    given = (fusion.config.blocks, fusion.config.block_width)
    if given != needed:
        raise ValueError(f"the adapter is for {given[0]} blocks of width {given[1]}, the base has {needed[0]} of {needed[1]}")
    if any(isinstance(processor, FaceCrossAttention) for processor in transformer.attn_processors.values()):
        raise ValueError("the transformer already carries a face fusion: detach it first")
