"""Multi-view references: clean latents of further views of the face, as tokens that the video's self-attention reads.

Belongs here: their tokens, their rotary positions, and the mask that hides parts of them. Not here: their way through the blocks
(`reference_stream`), the hooks that put them in (`attach`), which views of a clip are taken (`training.sampling`).

Source: Mv2ID (arXiv 2603.21299). Confirmed or reported there: clean tokens that self-attention reads; all references at one
temporal index, view i shifted by i grids in space; a random spatial mask of 60 % in training. Our choices where the paper is
silent: the temporal index lies past the last frame with one left free, the first view begins where the video's grid ends, and
hidden tokens are left out (as in MAE), equally many of every view, so that no view is ever hidden whole. Ours against the
paper: in drawing there are as many views as in training and as many tokens of them are hidden, other ones at every step, so that
attention meets as many of them as it was trained with.
"""

from typing import NamedTuple

import torch
from diffusers.models.transformers.transformer_wan import WanRotaryPosEmbed
from torch import nn

from model.bases.flow import generator
from model.presets import TemporalIndex

_FREE_FRAMES = 1


class References(NamedTuple):
    """Further views of the faces of a batch; none at all is a batch without references."""

    latents: torch.Tensor  # (B, R, C, h, w)  clean, normalised
    visible: torch.Tensor | None = None  # (B, V)  which of the R * h/2 * w/2 tokens are shown; None: all
    keep: torch.Tensor | None = None  # (B,)  False: the learned null token stands in for every token

    def null(self) -> "References":
        """As many tokens at the same positions that show nobody: guidance's unconditional pass."""
        return self._replace(keep=torch.zeros(len(self.latents), dtype=torch.bool, device=self.latents.device))

    def to(self, device: torch.device) -> "References":
        """The same references on `device`."""
        return self._replace(**{name: value.to(device) for name, value in self._asdict().items() if value is not None})

    def at_step(self, timestep: float, masked_share: float, patch: tuple[int, int, int]) -> "References":
        """What a step of drawing is shown: as much as training shows, of other places at every timestep."""
        dice = generator(0, "region-mask-of-drawing", round(timestep))
        return self._replace(visible=region_mask(self.latents, patch, masked_share, dice).to(self.latents.device))


def shown_tokens(latents: torch.Tensor, patch: tuple[int, int, int], masked_share: float) -> int:
    """How many tokens of a clip's views (B, R, C, h, w) are shown; at least one of every view."""
    return latents.shape[1] * _shown_of_view(latents, patch, masked_share)


def region_mask(
    latents: torch.Tensor, patch: tuple[int, int, int], masked_share: float, generator: torch.Generator
) -> torch.Tensor:
    """(B, V): indices of the tokens of views (B, R, C, h, w) that stay visible, ascending, equally many of every view."""
    rows, views = latents.shape[:2]
    tokens = _tokens_of_view(latents, patch)
    order = torch.rand(rows, views, tokens, generator=generator).argsort(dim=-1)
    chosen = order[..., : _shown_of_view(latents, patch, masked_share)].sort(dim=-1).values
    return (chosen + tokens * torch.arange(views)[:, None]).flatten(1)


def reference_tokens(references: References, patch_embedding: nn.Conv3d, null_token: torch.Tensor) -> torch.Tensor:
    """(B, N, D): the base's own embedding of each view as a video of one frame.

    A base that takes a first frame as further channels (mask and latents, Wan's image-to-video) is given each view as it
    is given a frame that is known.
    """
    latents = references.latents.to(patch_embedding.weight.dtype)
    batch, views = latents.shape[:2]
    frames = _fill_channels(latents.flatten(0, 1), patch_embedding.in_channels)[:, :, None]
    # forward, not the module: its hook is for the video.
    tokens = patch_embedding.forward(frames).flatten(2).transpose(1, 2)  # (B * R, n, D)
    tokens = tokens.unflatten(0, (batch, views)).flatten(1, 2)  # (B, R * n, D)
    if references.visible is not None:
        tokens = tokens.gather(1, references.visible[..., None].expand(-1, -1, tokens.shape[2]))
    if references.keep is not None:
        tokens = torch.where(references.keep[:, None, None], tokens, null_token.to(tokens.dtype))
    return tokens


def reference_positions(
    references: References, rope: WanRotaryPosEmbed, grid: tuple[int, int, int], temporal_index: TemporalIndex = "shared"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines, (1 or B, N, 1, head width), of positions that no token of the video's `grid` (t, h, w) has.

    Raises:
        ValueError: the last view would lie beyond the base's positions.
    """
    height, width = (references.latents.shape[axis] // rope.patch_size[axis - 2] for axis in (3, 4))
    views = references.latents.shape[1]
    view, first = torch.arange(views), grid[0] + _FREE_FRAMES
    times_apart = int(temporal_index == "one_a_view")
    beyond = max(first + 1 + (views - 1) * times_apart, grid[1] + views * height, grid[2] + views * width)
    if beyond > rope.max_seq_len:
        raise ValueError(
            f"{views} references of {height} x {width} tokens beside a video of {grid[1]} x {grid[2]} need {beyond} "
            f"positions, the base has {rope.max_seq_len}: give fewer or smaller references"
        )
    indices = (
        (first + view * times_apart)[:, None, None].expand(-1, height, width),
        (grid[1] + view[:, None] * height + torch.arange(height))[:, :, None].expand(-1, -1, width),
        (grid[2] + view[:, None] * width + torch.arange(width))[:, None].expand(-1, height, -1),
    )

    def rotate(frequencies: torch.Tensor) -> torch.Tensor:
        axes = frequencies.split([rope.t_dim, rope.h_dim, rope.w_dim], dim=1)
        parts = [axis[index.flatten().to(axis.device)] for axis, index in zip(axes, indices, strict=True)]
        table = torch.cat(parts, dim=-1)[None, :, None]  # (1, R * n, 1, head width)
        return table if references.visible is None else table[0][references.visible]

    return rotate(rope.freqs_cos), rotate(rope.freqs_sin)


def _fill_channels(latents: torch.Tensor, channels: int) -> torch.Tensor:
    """(N, C, h, w) -> (N, channels, h, w)."""
    missing = channels - 2 * latents.shape[1]
    if channels == latents.shape[1]:
        return latents
    if missing < 0:
        raise ValueError(f"references have {latents.shape[1]} channels, the base takes {channels}: encode them with its VAE")
    known = latents.new_ones(len(latents), missing, *latents.shape[2:])
    return torch.cat([latents, known, latents], dim=1)


def _tokens_of_view(latents: torch.Tensor, patch: tuple[int, int, int]) -> int:
    return (latents.shape[-2] // patch[1]) * (latents.shape[-1] // patch[2])


def _shown_of_view(latents: torch.Tensor, patch: tuple[int, int, int], masked_share: float) -> int:
    return max(1, round(_tokens_of_view(latents, patch) * (1 - masked_share)))
