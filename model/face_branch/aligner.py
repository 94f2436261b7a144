"""The pose-shared aligner: a face's tokens and its pose to what they say of the person in any pose.

Belongs here: the module and its contrastive loss. Not here: where its output joins the video (`fusion`), which views make a
pair (`training.sampling`).

Source: FaithfulFaces (section 3.3). Confirmed there: tokens and Euler angles, a learned dictionary of 4096, correlation with
it, max pooling over tokens, weighted sum; a symmetric CLIP-type loss over two crops a video with a learned temperature.
Our choices where the paper is silent: the tokens are the semantic encoder's, angles are added to every token, the weights
are a softmax, and the angles' embedding is harmonic by default: the paper's timestep encoding is not periodic, so that it
sets -179 and 181 degrees further apart than +40 and -40.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from diffusers.models.embeddings import get_timestep_embedding
from torch import nn
from torch.utils.checkpoint import checkpoint

from model.presets import AlignerConfig, AngleEmbedding

_ANGLES = 3
_TEMPERATURE = 0.07  # CLIP's start
_MOST_SCALE = 100.0  # CLIP's bound on 1 / temperature


class FacePairs(NamedTuple):
    """Two views of each of some persons, no person twice; everything the pose-shared aligner is trained on."""

    semantic: torch.Tensor  # (2, P, S, D_s)  in bfloat16, as they are cached
    angles_deg: torch.Tensor  # (2, P, 3)


class EulerEmbedding(nn.Module):
    """Yaw, pitch and roll in degrees, (B, 3), to one vector of a token's width, (B, W)."""

    def __init__(self, kind: AngleEmbedding, frequencies: int, width: int) -> None:
        super().__init__()
        self.kind = kind
        self.frequencies = frequencies
        self.project = nn.Linear(_ANGLES * 2 * frequencies, width)

    def encode(self, angles_deg: torch.Tensor) -> torch.Tensor:
        """(B, 3) -> (B, 6 * frequencies), nothing of it learned."""
        if self.kind == "timestep":
            return get_timestep_embedding(angles_deg.flatten(), 2 * self.frequencies).unflatten(0, (-1, _ANGLES)).flatten(1)
        turns = torch.arange(1, self.frequencies + 1, device=angles_deg.device)
        angles = torch.deg2rad(angles_deg.float())[..., None] * turns
        return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(1)

    def forward(self, angles_deg: torch.Tensor) -> torch.Tensor:
        return self.project(self.encode(angles_deg).to(self.project.weight.dtype))


class PoseAligner(nn.Module):
    """Tokens (B, S, D) and angles (B, 3) to the person, (B, W), as a mix of the dictionary's elements."""

    def __init__(self, in_width: int, config: AlignerConfig) -> None:
        super().__init__()
        self.chunk = config.chunk
        self.project = nn.Linear(in_width, config.width)
        self.angles = EulerEmbedding(config.angle_embedding, config.frequencies, config.width)
        self.norm = nn.LayerNorm(config.width)
        self.dictionary = nn.Parameter(torch.randn(config.dictionary, config.width) * config.width**-0.5)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / _TEMPERATURE)))

    def forward(self, tokens: torch.Tensor, angles_deg: torch.Tensor) -> torch.Tensor:
        return self.activations(tokens, angles_deg) @ self.dictionary

    def activations(self, tokens: torch.Tensor, angles_deg: torch.Tensor) -> torch.Tensor:
        """(B, dictionary): how much of each element; rows sum to 1.

        The correlation of a whole contrastive batch would take gigabytes, (B, S, dictionary). It exists `chunk` rows at a
        time, in the backward pass too, where it is computed again.
        """
        pooled = [
            checkpoint(self._correlate, part, angles, use_reentrant=False, preserve_rng_state=False)
            for part, angles in zip(tokens.split(self.chunk), angles_deg.split(self.chunk), strict=True)
        ]
        return torch.cat(pooled).softmax(dim=-1)

    def contrastive_loss(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Symmetric InfoNCE of persons (P, W) seen twice: row i of `first` belongs to row i of `second`, to no other."""
        scale = self.log_scale.exp().clamp(max=_MOST_SCALE)
        similarity = scale * F.normalize(first.float(), dim=-1) @ F.normalize(second.float(), dim=-1).T
        own = torch.arange(len(first), device=first.device)
        return (F.cross_entropy(similarity, own) + F.cross_entropy(similarity.T, own)) / 2

    def _correlate(self, tokens: torch.Tensor, angles_deg: torch.Tensor) -> torch.Tensor:
        """(b, S, D) -> (b, dictionary): the best match of each element among the tokens.

        A contrastive batch comes in the bfloat16 that it is cached in: only these few are in float32 at a time.
        """
        posed = self.norm(self.project(tokens.to(self.project.weight.dtype)) + self.angles(angles_deg)[:, None])
        return (posed @ self.dictionary.T).amax(dim=1)
