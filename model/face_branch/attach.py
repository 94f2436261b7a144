"""Joins a `FaceFusion` to an unmodified diffusers Wan transformer (VACE too), and parts them again.

Belongs here: the public touch points (attention processors, forward hooks on the transformer and on three of its parts). Not
here: any parameter; the transformer's state dict keeps exactly its own keys.

Face and references enter as `attention_kwargs={"face": FaceTokens, "references": References}`, which every stock Wan pipeline
hands down. The face travels to the blocks inside what they take for text, the references inside what they take for the video's
positions. Neither is kept on a module: with gradient checkpointing a second forward before the backward would otherwise
recompute the first one with the wrong face, silently.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn

from model.bases.base import Transformer
from model.face_branch.fusion import FaceFusion, FaceTokens
from model.face_branch.reference_stream import (
    ReferenceReader,
    ReferenceStates,
    Rotary,
    VideoPositions,
    carry_references,
    read_references,
)
from model.face_branch.references import References, reference_positions, reference_tokens
from model.presets import TEXT_ROWS

FACE, REFERENCES = "face", "references"
"""The keys of the face's tokens and of its further views in `attention_kwargs`."""


class FaceContext(NamedTuple):
    """What a block receives in place of text once a face is given."""

    text: torch.Tensor  # (B, [257 +] 512, D)  what diffusers would have passed
    face: FaceTokens
    time: torch.Tensor  # (B, D)  the timestep's embedding


class _Processor:
    """Stands before one of a block's own attention processors. Owns no parameter, so it adds no key."""

    def __init__(self, base: Any) -> None:
        self.base = base

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


class PlainAttention(_Processor):
    """The attentions of VACE's own blocks, which form what the control video says: they read neither face nor references."""

    def __call__(
        self,
        attn: nn.Module,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | FaceContext | None = None,
        attention_mask: torch.Tensor | None = None,
        rotary_emb: Rotary | VideoPositions | None = None,
    ) -> torch.Tensor:
        text = encoder_hidden_states.text if isinstance(encoder_hidden_states, FaceContext) else encoder_hidden_states
        rotary = rotary_emb.rotary if isinstance(rotary_emb, VideoPositions) else rotary_emb
        return self.base(attn, hidden_states, text, attention_mask, rotary)


class VideoSelfAttention(_Processor):
    """A block's own self-attention, whose tokens read the references too where there are some."""

    def __init__(self, base: Any, block: nn.Module, reader: ReferenceReader) -> None:
        super().__init__(base)
        self.block = block
        self.reader = reader

    def __call__(
        self,
        attn: nn.Module,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        rotary_emb: Rotary | VideoPositions | None = None,
    ) -> torch.Tensor:
        if not isinstance(rotary_emb, VideoPositions):
            return self.base(attn, hidden_states, encoder_hidden_states, attention_mask, rotary_emb)
        return read_references(attn, self.block, self.reader, hidden_states, rotary_emb, self._attention_backend)


class FaceCrossAttention(_Processor):
    """A block's own cross-attention, plus the face branch."""

    def __init__(self, base: Any, gate: nn.Module, attention: nn.Module) -> None:
        super().__init__(base)
        self.gate = gate
        self.attention = attention

    def __call__(
        self,
        attn: nn.Module,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | FaceContext | None = None,
        attention_mask: torch.Tensor | None = None,
        rotary_emb: Rotary | None = None,
    ) -> torch.Tensor:
        if not isinstance(encoder_hidden_states, FaceContext):
            return self.base(attn, hidden_states, encoder_hidden_states, attention_mask, rotary_emb)
        text, face, time = encoder_hidden_states
        weights = self.gate(face.pooled, time)  # (B, 3)
        fused = torch.einsum("be,benw->bnw", weights, face.experts)
        if face.token_shift is not None:
            fused = fused + face.token_shift[:, None]
        attended = self.base(attn, hidden_states, text, attention_mask, rotary_emb)
        return attended + self.attention(hidden_states, fused, self._attention_backend)


class _Forward:
    """The hooks of one attachment, in the order in which a forward calls them, and what they hand on until it ends.

    One forward at a time. All of it lies outside the blocks, so nothing here is computed again under checkpointing.
    """

    def __init__(self, fusion: FaceFusion, text_rows: int) -> None:
        self.fusion = fusion
        self.text_rows = text_rows
        self.face: FaceTokens | None = None
        self.references: ReferenceStates | None = None

    def take(self, module: Transformer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Before the transformer: takes ours out of `attention_kwargs`; references pass the blocks."""
        remaining = dict(kwargs.get("attention_kwargs") or {})
        self.face = remaining.pop(FACE, None)
        references = remaining.pop(REFERENCES, None)
        if references is not None and references.latents.shape[1]:
            self.references = self._carry(module, references, kwargs)
        return args, {**kwargs, "attention_kwargs": remaining or None}

    def add_references(self, _rope: nn.Module, _args: tuple[Any, ...], output: Rotary) -> Rotary | VideoPositions:
        """After the rotary embedding of the video: what the blocks take for it carries the references from here on."""
        return output if self.references is None else VideoPositions(output, self.references)

    def embed(self, _patch_embedding: nn.Module, _args: tuple[Any, ...], video: torch.Tensor) -> torch.Tensor:
        """After the video's own embedding (B, D, T, h, w): the aligner joins it."""
        if self.face is None or self.face.input_shift is None:
            return video
        return video + self.face.input_shift[:, :, None, None, None].to(video.dtype)

    def wrap_text(self, _module: nn.Module, _args: tuple[Any, ...], output: tuple[Any, ...]) -> tuple[Any, ...]:
        """After the condition embedder: what the blocks take for text carries the face from here on."""
        if self.face is None:
            return output
        temb, projected_temb, text, image = output
        if text.shape[1] != self.text_rows:
            raise ValueError(f"text has {text.shape[1]} rows, the base was trained with {self.text_rows}: pad it with zeros")
        # Where every token has a timestep the first frame's is 0; the last token is always one that is drawn.
        time = temb if temb.ndim == 2 else temb[:, -1]
        joined_text = text if image is None else torch.cat([image, text], dim=1)
        return temb, projected_temb, FaceContext(joined_text, self.face, time), None

    def end(self, _module: nn.Module, _args: tuple[Any, ...], _output: Any) -> None:
        """After the transformer, whether it ended well or not."""
        self.face = None
        self.references = None

    def _carry(self, transformer: Transformer, references: References, given: dict[str, Any]) -> ReferenceStates:
        config = self.fusion.config.references
        if config is None:
            raise ValueError("this adapter was made without references: train one with FusionConfig.references")
        rope = transformer.rope
        frames, height, width = (
            side // patch for side, patch in zip(given["hidden_states"].shape[2:], rope.patch_size, strict=True)
        )
        return carry_references(
            transformer,
            reference_tokens(references, transformer.patch_embedding, self.fusion.null_reference),
            reference_positions(references, rope, (frames, height, width), config["temporal_index"]),
            given["encoder_hidden_states"],
            given.get("encoder_hidden_states_image"),
        )


def attach(fusion: FaceFusion, transformer: Transformer, text_rows: int = TEXT_ROWS) -> Callable[[], None]:
    """Lets `transformer` read face and references from `attention_kwargs`; without them it stays the base, bit for bit.

    Args:
        fusion: the adapter.
        transformer: unmodified.
        text_rows: rows of text the base was trained with; others are refused, since diffusers would take them wrongly in
            silence (it masks none, and splits off image rows by this number).

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
        if fusion.config.references is not None:
            name = f"blocks.{block}.attn1.processor"
            joined[name] = VideoSelfAttention(before[name], transformer.blocks[block], fusion.reference_reader(block))
    for name in before:
        if name.startswith("vace_blocks."):
            joined[name] = PlainAttention(before[name])
    transformer.set_attn_processor(joined)
    forward = _Forward(fusion, text_rows)
    hooks = [
        transformer.register_forward_pre_hook(forward.take, with_kwargs=True),
        transformer.rope.register_forward_hook(forward.add_references),
        transformer.patch_embedding.register_forward_hook(forward.embed),
        transformer.condition_embedder.register_forward_hook(forward.wrap_text),
        transformer.register_forward_hook(forward.end, always_call=True),
    ]

    def detach() -> None:
        for hook in hooks:
            hook.remove()
        # set_attn_processor empties the dict it is given.
        transformer.set_attn_processor(dict(before))

    return detach


def _check_fit(fusion: FaceFusion, transformer: Transformer) -> None:
    wan = transformer.config
    needed = (wan.num_layers, wan.num_attention_heads * wan.attention_head_dim)
    given = (fusion.config.blocks, fusion.config.block_width)
    if given != needed:
        raise ValueError(f"the adapter is for {given[0]} blocks of width {given[1]}, the base has {needed[0]} of {needed[1]}")
    if any(isinstance(processor, FaceCrossAttention) for processor in transformer.attn_processors.values()):
        raise ValueError("the transformer already carries a face fusion: detach it first")
