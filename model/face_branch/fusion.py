"""The adapter of the video DiT: three face experts, gated, read by an attention in every block, and the parts that join them.

Belongs here: `FaceFusion` and its layers, as pure modules. Not here: how they meet a diffusers transformer (`attach`), nor
where the features come from (`encoding.encoders`), nor the parts themselves (`experts`, `aligner`, `references`).

Source: CoFE v3 and MoFE v1 (arXiv 2508.09476), figures "CoFE_pipeline" and "method". Confirmed there: three encoders, a
projection each, concatenation into a gate (Linear, GELU, Linear, Softmax over three), gate-weighted sum of three experts,
read by the cross-attention of every block; one gate a block in v3, one for the network in v1. Our choices where the papers
are silent: the gate sees pooled tokens, the experts are MLPs shared by all blocks, the injection has its own query, key and
value and a zero-initialised output, so that a fresh adapter leaves the base as it is; where a gate sees the timestep too,
that term is zero in a fresh one. FaithfulFaces leaves open how the aligner's output joins the noisy video: here its numbers are
brought to size 1, and it is added to every embedded token through a projection that begins at zero. As it comes, a mix of
thousands of elements is too faint beside an embedded video to be heard.
"""

from typing import Any, NamedTuple, Self

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn

from model.encoding.face_features import FaceFeatures
from model.face_branch.aligner import PoseAligner
from model.face_branch.cross_attention import CrossAttention
from model.face_branch.experts import EXPERTS, ExpertMLP, Resampler, VectorProjection
from model.face_branch.reference_stream import ReferenceReader
from model.presets import AlignerConfig, FusionConfig, FusionKind

_NULL_REFERENCE_STD = 0.02


class FaceTokens(NamedTuple):
    """What a video needs of its face, computed once and read by every block at every step."""

    pooled: torch.Tensor  # (B, 3 * W)     the gates' input: each expert's projected tokens, averaged, side by side
    experts: torch.Tensor  # (B, 3, N, W)  identity, semantic, detail
    token_shift: torch.Tensor | None = None  # (B, W)  the aligner's person, where it joins the fused tokens
    input_shift: torch.Tensor | None = None  # (B, D)  the same, where it joins the embedded video


class ExpertGate(nn.Module):
    """How much each expert says: pooled tokens (B, 3 * W) and time (B, D) -> (B, 3), rows sum to 1.

    Without `time_width` the gate does not see the time.
    """

    def __init__(self, token_width: int, gate_width: int, time_width: int | None) -> None:
        super().__init__()
        self.score = nn.Sequential(
            nn.Linear(len(EXPERTS) * token_width, gate_width), nn.GELU(), nn.Linear(gate_width, len(EXPERTS))
        )
        self.time = None
        if time_width is not None:
            silent = nn.Linear(time_width, len(EXPERTS), bias=False)
            nn.init.zeros_(silent.weight)
            self.time = nn.Sequential(nn.SiLU(), silent)

    def forward(self, pooled: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        scores = self.score(pooled)
        if self.time is not None:
            scores = scores + self.time(time.to(scores.dtype))
        return scores.softmax(dim=-1)


class FaceFusion(ModelMixin, ConfigMixin):
    """The adapter: everything about the face that trains, in its own folder of config and safetensors.

    `block_width` and `blocks` are the transformer's inner width and depth; the three `*_width` of features are whatever
    the frozen encoders give; `aligner` and `references` are the fields of their configs.
    """

    config_name = "config.json"

    @register_to_config
    def __init__(
        self,
        block_width: int,
        blocks: int,
        identity_width: int,
        semantic_width: int,
        detail_width: int,
        kind: FusionKind,
        time_aware: bool,
        tokens: int,
        token_width: int,
        gate_width: int,
        attention_width: int,
        head_width: int,
        resampler_layers: int,
        resampler_heads: int,
        aligner: dict[str, Any] | None = None,
        references: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        resampler = (tokens, token_width, resampler_layers, resampler_heads)
        self.projections = nn.ModuleDict(
            {
                "identity": VectorProjection(identity_width, tokens, token_width),
                "semantic": Resampler(semantic_width, *resampler),
                "detail": Resampler(detail_width, *resampler),
            }
        )
        self.null_tokens = nn.Parameter(torch.randn(len(EXPERTS), tokens, token_width))
        self.experts = nn.ModuleDict({name: ExpertMLP(token_width) for name in EXPERTS})
        time_width = block_width if time_aware else None
        gates = blocks if kind == "cofe" else 1
        self.gates = nn.ModuleList(ExpertGate(token_width, gate_width, time_width) for _ in range(gates))
        self.attentions = nn.ModuleList(
            CrossAttention(block_width, token_width, attention_width, head_width, silent=True) for _ in range(blocks)
        )
        self.pose_aligner = None
        if aligner is not None:
            chosen = AlignerConfig(**aligner)
            self.pose_aligner = PoseAligner(semantic_width, chosen)
            self.null_person = nn.Parameter(torch.randn(chosen.width) * chosen.width**-0.5)
            self.join = nn.Linear(chosen.width, block_width if chosen.joins == "input" else token_width, bias=False)
            nn.init.zeros_(self.join.weight)
        if references is not None:
            # Small, as embedded latents are: layer norms in the blocks would stretch a zero without bound.
            self.null_reference = nn.Parameter(torch.randn(block_width) * _NULL_REFERENCE_STD)
            self.reference_readers = nn.ModuleList(
                ReferenceReader(block_width, references["rank"], block) for block in range(blocks)
            )

    @classmethod
    def for_transformer(cls, transformer: ModelMixin, features: FaceFeatures, config: FusionConfig) -> Self:
        """A fresh adapter that fits `transformer` and features of these widths."""
        wan = transformer.config
        block_width = wan.num_attention_heads * wan.attention_head_dim
        sizes = config.model_dump(exclude={"injection"})
        if config.injection == "full":
            sizes |= {"attention_width": block_width, "head_width": wan.attention_head_dim}
        fusion = cls(
            block_width=block_width,
            blocks=wan.num_layers,
            identity_width=features.identity.shape[-1],
            semantic_width=features.semantic.shape[-1],
            detail_width=features.detail.shape[-1],
            **sizes,
        )
        for name in ("semantic", "detail"):
            resampler = fusion.projections[name]
            assert isinstance(resampler, Resampler)
            resampler.sharpen(getattr(features, name).shape[1])
        return fusion

    def forward(self, features: FaceFeatures, keep: torch.Tensor | None = None) -> FaceTokens:
        """Tokens of a batch of faces; where `keep` (B,) is False the null tokens stand in for all of them.

        Conditions are dropped this way in training, not by leaving the branch out, so that every parameter is part of
        every step's graph.

        Raises:
            ValueError: the adapter has an aligner and the faces have no angles.
        """
        projected = torch.stack([self.projections[name](getattr(features, name)) for name in EXPERTS], dim=1)
        person = self._align(features)
        if keep is not None:
            projected = torch.where(keep[:, None, None, None], projected, self.null_tokens.to(projected.dtype))
            if person is not None:
                person = torch.where(keep[:, None], person, self.null_person.to(person.dtype))
        return self._run_experts(projected, person)

    def null(self, batch_size: int = 1) -> FaceTokens:
        """The tokens of no face in particular: guidance's unconditional pass."""
        person = None if self.pose_aligner is None else self.null_person.expand(batch_size, -1)
        return self._run_experts(self.null_tokens.expand(batch_size, -1, -1, -1), person)

    def gate(self, block: int) -> nn.Module:
        """The `ExpertGate` that block number `block` reads through."""
        return self.gates[block if self.config.kind == "cofe" else 0]

    def reference_reader(self, block: int) -> ReferenceReader:
        """Through which block number `block` reads the references."""
        reader = self.reference_readers[block]
        assert isinstance(reader, ReferenceReader)
        return reader

    def _align(self, features: FaceFeatures) -> torch.Tensor | None:
        """(B, W): who it is whatever the pose; None without an aligner."""
        if self.pose_aligner is None:
            return None
        if features.angles_deg is None:
            raise ValueError("this adapter has a pose-shared aligner: give the faces' Euler angles too")
        person = self.pose_aligner(features.semantic, features.angles_deg)
        return person.detach() if self.config.aligner["detach"] else person

    def _run_experts(self, projected: torch.Tensor, person: torch.Tensor | None) -> FaceTokens:
        spoken = [self.experts[name](projected[:, i]) for i, name in enumerate(EXPERTS)]
        tokens = FaceTokens(pooled=projected.mean(dim=2).flatten(1), experts=torch.stack(spoken, dim=1))
        if person is None:
            return tokens
        if self.config.aligner["normalised"]:
            person = F.normalize(person, dim=-1) * person.shape[-1] ** 0.5
        joins = "input_shift" if self.config.aligner["joins"] == "input" else "token_shift"
        return tokens._replace(**{joins: self.join(person)})
