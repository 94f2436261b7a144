"""Why a curriculum may cut latents in time: the first latents of Wan's VAE are those of the clip that ends there.

The real architecture (diffusers' AutoencoderKLWan, causal convolutions over time, a first frame and then four at a time) with
random weights, as Wan2.1 has it and as Wan2.2's 5B does.
"""

from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLWan

WAN21 = {"base_dim": 8, "z_dim": 4}
WAN22 = {
    "base_dim": 8,
    "z_dim": 4,
    "is_residual": True,
    "in_channels": 12,
    "out_channels": 12,
    "patch_size": 2,
    "decoder_base_dim": 8,
}


@pytest.mark.parametrize("config", [WAN21, WAN22])
def test_the_first_latents_do_not_depend_on_later_frames(config: dict[str, Any]) -> None:
    torch.manual_seed(0)
    vae = AutoencoderKLWan(**config).eval()
    video = torch.rand(1, 3, 17, 32, 32) * 2 - 1
    with torch.no_grad():
        whole = vae.encode(video).latent_dist.parameters
        for frames in (1, 5, 9, 13):
            cut = vae.encode(video[:, :, :frames]).latent_dist.parameters
            assert cut.shape[2] == 1 + (frames - 1) // 4
            torch.testing.assert_close(cut, whole[:, :, : cut.shape[2]], atol=1e-6, rtol=0)
        later = vae.encode(torch.cat([video[:, :, :9], -video[:, :, 9:]], dim=2)).latent_dist.parameters
    assert (later[:, :, 3:] - whole[:, :, 3:]).abs().max() > 1e-3
