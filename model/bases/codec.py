"""`HaarCodec`: a latent codec that needs no trained weights, with the interface of diffusers' `AutoencoderKLWan`.

Belongs here: the transform between pixels and latents of the tiny base. Not here: any trained VAE (diffusers has those).
"""

import math
from typing import NamedTuple

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_outputs import AutoencoderKLOutput

_PATCH = 4
_COLOURS = 3
_CHANNELS = _COLOURS * _PATCH**2
# Spread of the 4 x 4 Haar bands of photographs at 64 px a side (scikit-image's astronaut, chelsea, coffee and rocket;
# pixels in [-1, 1]; rows and columns from coarse to fine, symmetrised). It only makes the channels alike in scale.
_BAND_STD = ((1.77, 0.42, 0.18, 0.18), (0.42, 0.20, 0.10, 0.10), (0.18, 0.10, 0.06, 0.06), (0.18, 0.10, 0.06, 0.06))
_LATENTS_STD = tuple(std for _ in range(_COLOURS) for row in _BAND_STD for std in row)


class DiracLatents:
    """The latent distribution of a deterministic codec: all of its mass in one point."""

    def __init__(self, latents: torch.Tensor) -> None:
        self.latents = latents

    def mode(self) -> torch.Tensor:
        return self.latents

    def sample(self, generator: torch.Generator | None = None) -> torch.Tensor:
        return self.latents


class HaarCodec(ModelMixin, ConfigMixin):
    """Orthonormal two-level 2D Haar transform of every frame: (B, 3, T, H, W) <-> (B, 48, T, H/4, W/4).

    Invertible to float precision, since its 16 x 16 matrix is orthogonal. Time is not compressed, so a first frame is a
    first latent. Channel c * 16 + i holds band i of colour c; `latents_std` makes the bands alike in scale, as the
    statistics of Wan's VAE do for its channels.
    """

    config_name = "config.json"

    @register_to_config
    def __init__(
        self,
        z_dim: int = _CHANNELS,
        latents_mean: tuple[float, ...] = (0.0,) * _CHANNELS,
        latents_std: tuple[float, ...] = _LATENTS_STD,
        scale_factor_temporal: int = 1,
        scale_factor_spatial: int = _PATCH,
    ) -> None:
        super().__init__()
        # Not persistent: the matrix is the definition, not a weight. As a buffer it follows .to() and gives .dtype.
        self.register_buffer("haar", _haar_2d(), persistent=False)

    @property
    def temperal_downsample(self) -> tuple[bool, bool]:
        """For each halving of height and width, whether it halves time too; diffusers' spelling, read by its VACE pipeline."""
        return (False, False)

    def encode(self, x: torch.Tensor) -> AutoencoderKLOutput:
        """Video in [-1, 1], (B, 3, T, H, W), H and W multiples of 4, to a distribution over (B, 48, T, H/4, W/4)."""
        patches = x.unflatten(4, (-1, _PATCH)).unflatten(3, (-1, _PATCH))  # (B, C, T, h, p, w, q)
        patches = patches.permute(0, 1, 2, 3, 5, 4, 6).flatten(5)  # (B, C, T, h, w, 16)
        latents = (patches @ self.haar.T).permute(0, 1, 5, 2, 3, 4).flatten(1, 2)
        return AutoencoderKLOutput(latent_dist=DiracLatents(latents))

    def decode(self, z: torch.Tensor, return_dict: bool = True) -> DecoderOutput | tuple[torch.Tensor]:
        """Latents (B, 48, T, h, w) to video (B, 3, T, 4h, 4w), clipped to [-1, 1] as Wan's VAE does."""
        patches = z.unflatten(1, (_COLOURS, -1)).permute(0, 1, 3, 4, 5, 2) @ self.haar  # (B, C, T, h, w, 16)
        patches = patches.unflatten(5, (_PATCH, _PATCH)).permute(0, 1, 2, 3, 5, 4, 6)  # (B, C, T, h, p, w, q)
        video = patches.flatten(5).flatten(3, 4).clamp(-1.0, 1.0)
        return DecoderOutput(sample=video) if return_dict else (video,)


def _haar_2d() -> torch.Tensor:
    """(16, 16) orthogonal: every band of a flattened 4 x 4 patch is a product of two 1D Haar functions."""
    fine = math.sqrt(2.0)
    haar_1d = torch.tensor([[1, 1, 1, 1], [1, 1, -1, -1], [fine, -fine, 0, 0], [0, 0, fine, -fine]]) / 2
    return torch.kron(haar_1d, haar_1d)


class Moments(NamedTuple):
    """What a codec says of a video, on the scale that the transformer reads: both (B, C, T, h, w)."""

    mean: torch.Tensor
    spread: torch.Tensor | None
    """Standard deviation; None where the codec is deterministic."""


def encode_moments(codec: ModelMixin, pixels: torch.Tensor) -> Moments:
    """A video in [-1, 1], (B, 3, T, H, W), to the distribution of its latents.

    Normalising shifts and scales the mean; the spread is scaled alone, and as a standard deviation, not as its logarithm.
    """
    distribution = codec.encode(pixels.to(codec.dtype)).latent_dist
    mode = distribution.mode()
    mean, std = (
        torch.tensor(values, dtype=mode.dtype, device=mode.device).view(1, -1, 1, 1, 1)
        for values in (codec.config.latents_mean, codec.config.latents_std)
    )
    spread = None if isinstance(distribution, DiracLatents) else distribution.std / std
    return Moments((mode - mean) / std, spread)
