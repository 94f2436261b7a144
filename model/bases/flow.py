"""Flow matching as pure functions, and the draws of a run as pure functions of (seed, purpose, step).

Belongs here: sigma, noisy latents, target, loss, random generators. Not here: the loop, the optimiser, or any state.

Convention (Wan, diffusers): x_sigma = (1 - sigma) x0 + sigma n, target n - x0, timestep 1000 sigma. With `first_frame` the
first latent frame is the given image: clean, at timestep 0 and outside the loss (Wan2.2 TI2V); without, it is drawn too.
"""

import hashlib

import torch

TIMESTEPS = 1000.0


def generator(seed: int, purpose: str, step: int) -> torch.Generator:
    """A fresh CPU generator for one purpose at one step.

    Nothing random has to be saved: a resumed run, on any number of workers, draws what the uninterrupted one would have.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{step}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8]) >> 1)


def shift_sigma(uniform: torch.Tensor, shift: float) -> torch.Tensor:
    """Uniform draws in [0, 1) to sigmas that dwell on noisier latents the larger `shift` is."""
    return shift * uniform / (1 + (shift - 1) * uniform)


def add_noise(clean: torch.Tensor, noise: torch.Tensor, sigma: torch.Tensor, first_frame: bool = True) -> torch.Tensor:
    """x_sigma (B, C, T, h, w) for sigma (B,), its first latent frame left clean where it is given."""
    sigma = sigma.view(-1, 1, 1, 1, 1)
    noisy = (1 - sigma) * clean + sigma * noise
    return torch.cat([clean[:, :, :1], noisy[:, :, 1:]], dim=2) if first_frame else noisy


def token_timesteps(
    sigma: torch.Tensor, latents: torch.Tensor, patch: tuple[int, int, int], first_frame: bool = True
) -> torch.Tensor:
    """(B, tokens) float32: 1000 sigma, and 0 for the tokens of a first latent frame that is given."""
    batch, _, frames, height, width = latents.shape
    per_frame = (height // patch[1]) * (width // patch[2])
    timesteps = (TIMESTEPS * sigma.float()).view(batch, 1, 1).repeat(1, frames, per_frame)
    if first_frame:
        timesteps[:, 0] = 0
    return timesteps.flatten(1)


def flow_loss(
    velocity: torch.Tensor, clean: torch.Tensor, noise: torch.Tensor, first_frame: bool = True, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """(B,): mean squared error of each clip's predicted velocity, without a first latent frame that is given.

    Args:
        velocity, clean, noise: (B, C, T, h, w).
        first_frame: it is given.
        weight: (B, T, h, w), of every latent cell, positive; the mean is a weighted one, so that only ratios count.
    """
    given = int(first_frame)
    error = (velocity.float() - (noise - clean))[:, :, given:].square()
    if weight is None:
        return error.mean(dim=(1, 2, 3, 4))
    kept = weight[:, given:]
    return (error.mean(dim=1) * kept).sum(dim=(1, 2, 3)) / kept.sum(dim=(1, 2, 3))
