"""The Haar codec: invertible, orthonormal, and driven by diffusers' own pipeline."""

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan
from PIL import Image

from model.bases.base import Base
from model.bases.codec import HaarCodec, encode_moments


def test_round_trip_to_float_precision() -> None:
    video = torch.rand(2, 3, 5, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    codec = HaarCodec()
    latents = codec.encode(video).latent_dist.mode()
    assert latents.shape == (2, 48, 5, 8, 12)
    torch.testing.assert_close(codec.decode(latents).sample, video, atol=1e-6, rtol=0)


def test_it_is_orthonormal_so_noise_keeps_its_scale() -> None:
    codec = HaarCodec()
    torch.testing.assert_close(codec.haar @ codec.haar.T, torch.eye(16), atol=1e-6, rtol=0)
    video = torch.randn(1, 3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert codec.encode(video).latent_dist.mode().norm() == pytest.approx(video.norm())


def test_a_flat_picture_lives_in_the_coarse_band_alone() -> None:
    latents = HaarCodec().encode(torch.full((1, 3, 1, 8, 8), 0.5)).latent_dist.mode()
    coarse = torch.zeros(48, dtype=torch.bool)
    coarse[::16] = True
    assert latents[:, coarse].eq(2.0).all()
    assert latents[:, ~coarse].abs().max() < 1e-6


def test_every_latent_frame_is_its_own_video_frame() -> None:
    codec = HaarCodec()
    video = torch.rand(1, 3, 3, 8, 8)
    whole = codec.encode(video).latent_dist.mode()
    alone = codec.encode(video[:, :, 1:2]).latent_dist.mode()
    assert torch.equal(whole[:, :, 1:2], alone)


def test_normalised_photographs_have_unit_scale() -> None:
    image = pytest.importorskip("skimage.data", reason="needs scikit-image's photograph").astronaut()
    small = np.array(Image.fromarray(image).resize((64, 64)))
    video = torch.from_numpy(small).permute(2, 0, 1)[None, :, None].float() / 127.5 - 1
    codec = HaarCodec()
    spread = encode_moments(codec, video).mean.flatten(2).std(dim=2)
    assert 0.5 < spread.median() < 2.0


def test_a_deterministic_codec_has_no_spread() -> None:
    assert encode_moments(HaarCodec(), torch.zeros(1, 3, 1, 8, 8)).spread is None


@torch.no_grad()
def test_mean_and_spread_are_those_of_what_wans_vae_samples() -> None:
    """The spread is scaled, not shifted, and is no logarithm: normalised samples scatter by it around the mean."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vae = AutoencoderKLWan(
            base_dim=3,
            z_dim=4,
            dim_mult=[1, 1],
            num_res_blocks=1,
            temperal_downsample=[False],
            latents_mean=[0.5, -1.0, 2.0, 0.0],
            latents_std=[0.5, 2.0, 3.0, 1.0],
        )
    pixels = torch.rand(1, 3, 5, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mean, spread = encode_moments(vae, pixels)
    dice = torch.Generator().manual_seed(0)
    latents = vae.encode(pixels).latent_dist
    shift, scale = (torch.tensor(values).view(1, -1, 1, 1, 1) for values in (vae.config.latents_mean, vae.config.latents_std))
    samples = torch.stack([(latents.sample(dice) - shift) / scale for _ in range(2000)])
    assert ((samples.mean(dim=0) - mean).abs() <= 5 * spread / 2000**0.5).all()
    torch.testing.assert_close(samples.std(dim=0), spread, atol=0, rtol=0.1)


def test_the_stock_pipeline_begins_with_the_given_image(base: Base) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8))
    frames = base.image_to_video()(
        image=image, prompt="x", height=16, width=16, num_frames=2, num_inference_steps=1, guidance_scale=1.0, output_type="np"
    ).frames[0]
    assert frames.shape == (3, 16, 16, 3)
    assert np.array_equal((frames[0] * 255).round().astype(np.uint8), np.asarray(image))
