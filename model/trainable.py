"""A base with a face fusion on it: one forward, and the names of what trains.

Belongs here: assembling the two for training, LoRA, the velocity that both loop and metrics ask for. Not here: the loop
(`train`), files (`checkpoint`).
"""

from dataclasses import dataclass

import torch
from peft import LoraConfig
from torch import nn

from model.attach import FACE, attach
from model.base import Base
from model.data import Batch
from model.experts import FaceFeatures
from model.flow import token_timesteps
from model.fusion import FaceFusion
from model.presets import FusionConfig, TrainConfig

ADAPTER, LORA, WEIGHTS = "adapter", "lora", "weights"
"""The parts of a checkpoint, and the first component of every trainable tensor's name."""

LORA_NAME = "lafid"
# Matched in full: a bare suffix would also find linears that are not the base's.
_LORA_TARGETS = r"blocks\.\d+\.attn[12]\.to_(q|k|v|out\.0)"


@dataclass(frozen=True)
class FusedModel:
    """A base whose transformer carries a fusion."""

    base: Base
    fusion: FaceFusion

    @property
    def device(self) -> torch.device:
        return self.base.transformer.device

    def velocity(
        self, noisy: torch.Tensor, sigma: torch.Tensor, batch: Batch, keep_face: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Predicted n - x0, (B, C, T, h, w), for noisy latents (B, C, T, h, w) at sigma (B,).

        Where `keep_face` (B,) is False the null tokens take the face's place.
        """
        transformer = self.base.transformer
        return transformer(
            hidden_states=noisy,
            timestep=token_timesteps(sigma, noisy, transformer.config.patch_size),
            encoder_hidden_states=batch.text,
            attention_kwargs={FACE: self.fusion(batch.face, keep_face)},
            return_dict=False,
        )[0]

    def trainable(self) -> dict[str, nn.Parameter]:
        """What has gradients, by "part/key", in an order that is always the same."""
        named = {f"{ADAPTER}/{key}": value for key, value in self.fusion.named_parameters()}
        for key, value in self.base.transformer.named_parameters():
            named[f"{LORA if '.lora_' in key else WEIGHTS}/{key}"] = value
        return {name: value for name, value in named.items() if value.requires_grad}


def assemble(base: Base, features: FaceFeatures, fusion: FusionConfig, train: TrainConfig) -> FusedModel:
    """A fresh fusion (and LoRA) on `base`, with gradients for what `train.trainable` names; initialised from its seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(train.seed)
        adapter = FaceFusion.for_transformer(base.transformer, features, fusion).to(base.transformer.device)
        base.transformer.requires_grad_(train.trainable == "all")
        if train.trainable == "adapter_and_lora":
            lora = LoraConfig(r=train.lora_rank, lora_alpha=train.lora_alpha, target_modules=_LORA_TARGETS)
            base.transformer.add_adapter(lora, adapter_name=LORA_NAME)
    attach(adapter, base.transformer)
    return FusedModel(base=base, fusion=adapter)
