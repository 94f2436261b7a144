"""Blocks that would compute the same again are left out, and nothing is different."""

from collections import Counter

import pytest
import torch
from diffusers import AutoencoderKLWan

from model.encoding.still_frames import left_out_where_still

SIDE, FRAMES = 16, 81
CHUNKS = 1 + (FRAMES - 1) // 4


@pytest.fixture
def vae() -> AutoencoderKLWan:
    """Wan2.1's own blocks, narrow."""
    torch.manual_seed(0)
    return AutoencoderKLWan(base_dim=4, z_dim=4).eval()


def _still_after(frames: int, of: int = FRAMES) -> torch.Tensor:
    moving = torch.rand(1, 3, frames, SIDE, SIDE) * 2 - 1
    return torch.cat([moving, moving.new_zeros(1, 3, of - frames, SIDE, SIDE)], dim=2)


@torch.no_grad()
def _encoded(vae: AutoencoderKLWan, video: torch.Tensor) -> torch.Tensor:
    return vae.encode(video).latent_dist.parameters


def _count(vae: AutoencoderKLWan) -> Counter[int]:
    """How often each block is computed from now on."""
    calls: Counter[int] = Counter()
    for number, block in enumerate(vae.encoder.down_blocks):
        block.register_forward_pre_hook(lambda _module, _given, number=number: calls.update([number]))
    return calls


def test_a_first_frame_and_then_nothing_costs_a_third_and_gives_the_same(vae: AutoencoderKLWan) -> None:
    video = _still_after(1)
    whole, calls = _encoded(vae, video), _count(vae)
    with left_out_where_still(vae.encoder):
        assert torch.equal(_encoded(vae, video), whole)
    assert [calls[number] for number in (0, 1, 3, 4, 6, 10)] == [4, 5, 6, 7, 9, 20], "of 21: the first blocks settle first"
    calls.clear()
    assert torch.equal(_encoded(vae, video), whole)
    assert set(calls.values()) == {CHUNKS}, "afterwards the encoder is as it was"


def test_what_moves_is_computed(vae: AutoencoderKLWan) -> None:
    """Within a video and from one to the next, whatever had settled before."""
    still, one, again = _still_after(1, 33), _still_after(1, 1), torch.cat([_still_after(5, 33), _still_after(2, 16)], dim=2)
    wanted = {video: _encoded(vae, video) for video in (still, one, again)}
    with left_out_where_still(vae.encoder):
        for video in (still, again, one, still, again):
            assert torch.equal(_encoded(vae, video), wanted[video])
