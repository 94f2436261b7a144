"""The base that all variants of `benchmarks.ablation` start from: a small Wan that draws heads as a text says.

As captions tell a published base how people look, half of its clips come with a text that tells the person's traits; the others
tell pose and expression alone, as every text does from there on: the base then draws nobody in particular.

Belongs here: its sizes and training, and the parts of a training step that the base and the variants share. Not here: the
adapter, its variants and their training (`head_training`).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import load_file, save_file

from benchmarks.head_clips import TEXT_WIDTH, HeadClips, text_rows
from model.bases.base import Base, load_base
from model.bases.build import build_tiny_base
from model.bases.flow import TIMESTEPS, add_noise, flow_loss, generator, shift_sigma
from model.face_branch.trainable import WEIGHTS
from model.files import whole_file
from model.presets import TrainConfig
from model.training.optimisation import clip_gradients, rated_groups, set_rates

PATCH = (1, 1, 1)
BLOCKS = 8
BATCH = 16
SHIFT = 3.0
"""Of sigma, in training as in drawing."""
_LR = 3e-3
_DESCRIBED_SHARE = 0.5

Velocity = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Noisy latents (B, C, T, h, w) at sigma (B,) to the predicted n - x0."""


def pretrained_transformer(path: Path, clips: HeadClips, steps: int, report: Callable[[str], None]) -> WanTransformer3DModel:
    """The transformer in `path`, trained and written first where there is none; frozen."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformer = WanTransformer3DModel(
            patch_size=PATCH,
            num_attention_heads=2,
            attention_head_dim=32,
            in_channels=clips.latents.shape[1],
            out_channels=clips.latents.shape[1],
            text_dim=TEXT_WIDTH,
            freq_dim=64,
            ffn_dim=128,
            num_layers=BLOCKS,
            rope_max_seq_len=32,
        )
    if path.is_file():
        transformer.load_state_dict(load_file(path))
        return transformer.eval().requires_grad_(False)
    config = TrainConfig(
        steps=steps, batch_size=BATCH, lr=_LR, base_lr=_LR, warmup_steps=100, trainable="all", checkpoint_every=1, log_every=1
    )
    parameters = {f"{WEIGHTS}/{name}": value for name, value in transformer.named_parameters()}
    optimizer = adamw(parameters, config)
    for step in range(steps):
        chosen = torch.randint(len(clips.latents), (BATCH,), generator=generator(0, "order", step))
        text = text_rows(clips.yaw_deg[chosen], clips.expressions[chosen], clips.identities[chosen])
        described = torch.rand(BATCH, generator=generator(0, "described", step)) < _DESCRIBED_SHARE
        text = torch.where(described[:, None, None], text, clips.text[chosen])
        loss = loss_of(lambda noisy, sigma, text=text: plain(transformer, noisy, sigma, text), clips.latents[chosen], 0, step)
        update(optimizer, loss, config, step)
        if (step + 1) % 250 == 0:
            report(f"base: step {step + 1} of {steps}, loss {loss.item():.3f}")
    with whole_file(path) as temporary:
        save_file(transformer.state_dict(), temporary)
    return transformer.eval().requires_grad_(False)


def base_of(transformer: WanTransformer3DModel, folder: Path) -> Base:
    """The tiny base (built in `folder` where it is not there) around this transformer; its codec is unused."""
    build_tiny_base(folder)
    tiny = load_base(folder, "cpu")
    return replace(tiny, info=tiny.info.model_copy(update={"layout": "ti2v"}), transformer=transformer)


def plain(transformer: WanTransformer3DModel, noisy: torch.Tensor, sigma: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """The velocity without a face branch."""
    return transformer(
        hidden_states=noisy, timestep=TIMESTEPS * sigma, encoder_hidden_states=text, return_dict=False
    )[0]  # fmt: skip


def loss_of(predict: Velocity, latents: torch.Tensor, seed: int, step: int) -> torch.Tensor:
    """The mean flow loss of clips (B, C, T, h, w) at this step's noise and sigmas; nothing is given of the video."""
    sigma = shift_sigma(torch.rand(len(latents), generator=generator(seed, "sigma", step)), SHIFT)
    noise = torch.randn(latents.shape, generator=generator(seed, "noise", step))
    noisy = add_noise(latents, noise, sigma, first_frame=False)
    return flow_loss(predict(noisy, sigma), latents, noise, first_frame=False).mean()


def adamw(parameters: Mapping[str, torch.nn.Parameter], config: TrainConfig) -> torch.optim.AdamW:
    """The optimiser of parameters as `FusedModel.trainable` names them."""
    return torch.optim.AdamW(rated_groups(parameters, config), lr=config.lr, weight_decay=config.weight_decay, fused=True)


def update(optimizer: torch.optim.Optimizer, loss: torch.Tensor, config: TrainConfig, step: int) -> None:
    """Update number `step`."""
    optimizer.zero_grad()
    loss.backward()
    clip_gradients(optimizer, config.max_grad_norm)
    set_rates(optimizer, config, step)
    optimizer.step()
