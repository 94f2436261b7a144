"""What is measured of a model and of its videos.

Belongs here: flow loss on fixed triples, PSNR. Not here: likeness (`model.likeness`), which clips are judged, or any threshold.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from model.bases.conditions import with_picture
from model.bases.flow import add_noise, flow_loss, generator, shift_sigma
from model.bases.specs import FIRST_FRAME_LAYOUTS
from model.clips.clip_set import ClipSet
from model.face_branch.references import References, region_mask
from model.face_branch.trainable import FusedModel
from model.presets import Preset
from model.training.sampling import fixed_views, latent_flow_shift

_TRIPLES_A_FORWARD = 8


@torch.no_grad()
def fixed_flow_loss(model: FusedModel, clips: ClipSet, preset: Preset) -> float:
    """Mean flow loss over fixed (clip, noise, sigma) triples, with text, face, references and first frame given (the
    last not to a base that takes none).

    The triples are a function of clips and preset alone, so two models are compared on the same ones. Clips take turns, the views
    that condition them too (`sampling.fixed_views`), whatever view conditioned in training; sigma runs through evenly spaced
    quantiles of the training distribution in an order unrelated to theirs. A forward has no more clips than in training, whose
    memory is then enough here.
    """
    triples, seed = preset.train.fixed_triples, preset.train.seed
    quantiles = (torch.randperm(triples, generator=generator(seed, "fixed-sigma", 0)) + 0.5) / triples
    wanted = model.fusion.config.references
    first_frame = model.base.info.layout in FIRST_FRAME_LAYOUTS
    held = model.holds_first_frame(first_frame)
    device = model.device  # which looks through all modules
    losses = []
    for chosen in _forwards(clips, triples, min(preset.train.forward_clips or _TRIPLES_A_FORWARD, _TRIPLES_A_FORWARD)):
        indices = [triple % len(clips) for triple in chosen]
        fixed = fixed_views(clips, chosen, wanted["views"] if wanted else 0)
        batch = clips.batch(indices, views=fixed.references if wanted else None, faces=fixed.faces)
        clean = with_picture(batch.latents, batch.condition)
        noise = [torch.randn(clean.shape[1:], generator=generator(seed, "fixed-noise", triple)) for triple in chosen]
        sigma = shift_sigma(quantiles[chosen], latent_flow_shift(batch.latents, preset.base)).to(device)
        drawn = torch.stack(noise).to(device)
        batch, clean = batch.to(device), clean.to(device)
        references = None
        if batch.references is not None:
            patch, share = model.base.transformer.config.patch_size, wanted["masked_share"]
            masks = [
                region_mask(views, patch, share, generator(seed, "fixed-mask", triple))
                for views, triple in zip(batch.references.split(1), chosen, strict=True)
            ]
            references = References(batch.references, torch.cat(masks).to(device))
        noisy = add_noise(clean, drawn, sigma, held)
        velocity = model.velocity(noisy, sigma, batch, references=references, first_frame=first_frame)
        losses.append(flow_loss(velocity, clean, drawn, held))
    return float(torch.cat(losses).mean())


def _forwards(clips: ClipSet, triples: int, most: int) -> Iterator[list[int]]:
    """Numbers of triples whose clips, which take turns, are of one size, up to `most` at once."""
    for indices in clips.buckets.values():
        members = set(indices)
        of_bucket = [triple for triple in range(triples) if triple % len(clips) in members]
        for start in range(0, len(of_bucket), most):
            yield of_bucket[start : start + most]


def psnr(image: NDArray[np.uint8], reference: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio in dB of two uint8 arrays of one shape; infinite where they are equal."""
    if image.shape != reference.shape:
        raise ValueError(f"PSNR compares equal shapes, not {image.shape} and {reference.shape}")
    error = np.mean((image.astype(np.float64) - reference.astype(np.float64)) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255.0**2 / error))
