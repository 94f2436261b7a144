"""Flow matching: the conventions diffusers' scheduler walks, and draws that depend on nothing else."""

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from model.bases.flow import add_noise, flow_loss, generator, shift_sigma, token_timesteps


def test_an_oracle_velocity_walks_the_scheduler_back_to_the_clean_latents() -> None:
    clean, noise = torch.randn(1, 4, 3, 4, 4), torch.randn(1, 4, 3, 4, 4)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(5)
    latents = noise
    for timestep in scheduler.timesteps:
        latents = scheduler.step(noise - clean, timestep, latents, return_dict=False)[0]
    torch.testing.assert_close(latents, clean, atol=1e-5, rtol=0)


def test_the_first_latent_frame_stays_clean() -> None:
    clean, noise = torch.randn(2, 4, 3, 4, 4), torch.randn(2, 4, 3, 4, 4)
    noisy = add_noise(clean, noise, torch.tensor([1.0, 0.25]))
    assert torch.equal(noisy[:, :, 0], clean[:, :, 0])
    assert torch.equal(noisy[0, :, 1:], noise[0, :, 1:])
    torch.testing.assert_close(noisy[1, :, 1:], 0.75 * clean[1, :, 1:] + 0.25 * noise[1, :, 1:])


def test_its_tokens_are_at_timestep_zero() -> None:
    timesteps = token_timesteps(torch.tensor([0.5, 1.0]), torch.zeros(2, 4, 3, 4, 8), (1, 2, 2))
    assert timesteps.shape == (2, 3 * 2 * 4)
    assert timesteps.dtype == torch.float32
    assert (timesteps[:, :8] == 0).all()
    assert (timesteps[0, 8:] == 500).all()
    assert (timesteps[1, 8:] == 1000).all()


def test_the_loss_leaves_the_first_frame_out_and_is_zero_for_the_truth() -> None:
    clean, noise = torch.randn(2, 4, 3, 4, 4), torch.randn(2, 4, 3, 4, 4)
    velocity = noise - clean
    velocity[:, :, 0] += 100
    assert torch.equal(flow_loss(velocity, clean, noise), torch.zeros(2))
    velocity[1, :, 1:] += 2
    torch.testing.assert_close(flow_loss(velocity, clean, noise), torch.tensor([0.0, 4.0]))


def test_a_weighted_loss_is_a_mean_in_which_weights_count_by_their_ratios() -> None:
    clean, noise = torch.randn(2, 4, 3, 4, 4), torch.randn(2, 4, 3, 4, 4)
    velocity = noise - clean
    velocity[:, :, :, :2] += 2  # the upper half is wrong by 2
    weight = torch.ones(2, 3, 4, 4)
    weight[1, :, :2] = 3.0
    weight[:, 0] = 1000.0  # of the frame that is given
    expected = torch.tensor([4 / 2, 4 * 3 / 4])
    torch.testing.assert_close(flow_loss(velocity, clean, noise, weight=weight), expected)
    torch.testing.assert_close(flow_loss(velocity, clean, noise, weight=5 * weight), expected)
    even = flow_loss(velocity, clean, noise, first_frame=False, weight=torch.full((2, 3, 4, 4), 7.0))
    torch.testing.assert_close(even, flow_loss(velocity, clean, noise, first_frame=False))


def test_without_a_given_first_frame_all_frames_are_noisy_timed_and_judged() -> None:
    clean, noise = torch.randn(2, 4, 3, 4, 4), torch.randn(2, 4, 3, 4, 4)
    sigma = torch.tensor([1.0, 0.25])
    assert torch.equal(add_noise(clean, noise, sigma, first_frame=False)[0], noise[0])
    assert (token_timesteps(sigma, clean, (1, 2, 2), first_frame=False)[1] == 250).all()
    velocity = noise - clean
    velocity[:, :, 0] += 3
    torch.testing.assert_close(flow_loss(velocity, clean, noise, first_frame=False), torch.tensor([3.0, 3.0]))


def test_the_shift_dwells_on_noise_and_keeps_the_ends() -> None:
    uniform = torch.tensor([0.0, 0.5, 1.0])
    assert torch.equal(shift_sigma(uniform, 1.0), uniform)
    assert shift_sigma(uniform, 3.0).tolist() == pytest.approx([0.0, 0.75, 1.0])


def test_draws_derive_from_seed_purpose_and_step_alone() -> None:
    def draw(*key: object) -> float:
        return torch.rand(1, generator=generator(*key)).item()

    keys = [(0, "noise", 1), (0, "noise", 2), (0, "sigma", 1), (1, "noise", 1)]
    assert len({draw(*key) for key in keys}) == 4
    torch.rand(7)
    assert draw(0, "noise", 1) == draw(0, "noise", 1)
