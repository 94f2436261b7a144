"""A base with a face fusion on it: one forward, and the names of what trains.

Belongs here: assembling the two for training, LoRA, the velocity that both loop and metrics ask for. Not here: the loop
(`training.train`), files (`release.checkpoint`).
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from peft import LoraConfig
from torch import nn

from model.bases.base import Base, Transformer
from model.bases.conditions import Condition, image_to_video_inputs, vace_inputs
from model.bases.flow import TIMESTEPS, token_timesteps
from model.bases.specs import FIRST_FRAME_LAYOUTS
from model.clips.clip_set import Batch, DataError
from model.encoding.face_features import FaceFeatures
from model.face_branch.aligner import FacePairs
from model.face_branch.attach import FACE, REFERENCES, attach
from model.face_branch.fusion import FaceFusion
from model.face_branch.references import References
from model.presets import FusionConfig, TrainConfig

ADAPTER, LORA, WEIGHTS = "adapter", "lora", "weights"
"""The parts of a checkpoint, and the first component of every trainable tensor's name."""
SUFFIXES = ("", "_2")
"""Of both, for the base's first and second transformer."""

LORA_NAME = "lafid"
# Matched in full: a bare suffix would also find linears that are not the base's.
LORA_TARGETS = r"(vace_)?blocks\.\d+\.attn[12]\.to_(q|k|v|out\.0)"
_CROSS_ATTENTION = re.compile(r"blocks\.\d+\.attn2\.")


class _Inputs(NamedTuple):
    """What one forward is given; rows belong together."""

    noisy: torch.Tensor  # (B, C, T, h, w)
    sigma: torch.Tensor  # (B,)
    text: torch.Tensor  # (B, 512, D)
    face: FaceFeatures
    keep_face: torch.Tensor | None  # (B,)
    references: References | None
    condition: Condition | None


@dataclass(frozen=True)
class FusedModel:
    """A base whose transformers carry a fusion each."""

    base: Base
    fusion: FaceFusion
    fusion_2: FaceFusion | None = None
    """On the low-noise transformer of two."""

    @property
    def device(self) -> torch.device:
        return self.base.transformer.device

    @property
    def attached(self) -> tuple[tuple[Transformer, FaceFusion], ...]:
        """Every transformer with the fusion it carries."""
        fusions = (self.fusion,) if self.fusion_2 is None else (self.fusion, self.fusion_2)
        return tuple(zip(self.base.transformers, fusions, strict=True))

    def set_training(self, training: bool) -> None:
        """Training or evaluation mode of everything."""
        for transformer, fusion in self.attached:
            transformer.train(training)
            fusion.train(training)

    def holds_first_frame(self, first_frame: bool) -> bool:
        """Whether a first frame that is given is the first latent, as `flow` takes it; an i2v base draws it anew."""
        return first_frame and self.base.info.layout == "ti2v"

    def velocity(
        self,
        noisy: torch.Tensor,
        sigma: torch.Tensor,
        batch: Batch,
        keep_face: torch.Tensor | None = None,
        references: References | None = None,
        first_frame: bool = True,
    ) -> torch.Tensor:
        """Predicted n - x0, (B, C, T, h, w), for noisy latents (B, C, T, h, w) at sigma (B,).

        Args:
            noisy, sigma: as `flow.add_noise` gives them, for VACE behind the picture (`conditions.with_picture`).
            batch: text, face and condition.
            keep_face: (B,); where it is False the null tokens take the face's place.
            references: further views; None: none.
            first_frame: the first frame is given. An i2v base is always given it, a t2v or VACE base never.

        Raises:
            ValueError: the base cannot be given a first frame, or cannot do without.
            DataError: the batch lacks the condition that the base takes.
        """
        layout, name = self.base.info.layout, self.base.info.name
        if first_frame and layout not in FIRST_FRAME_LAYOUTS:
            raise ValueError(f"base {name} of layout {layout} cannot be given a first frame: set train.first_frame_dropout to 1")
        if not first_frame and layout == "i2v":
            raise ValueError(f"base {name} of layout i2v is always given its first frame: set train.first_frame_dropout to 0")
        if batch.condition is None and layout in ("i2v", "vace"):
            raise DataError(
                f"the clips hold no condition, which base {name} of layout {layout} takes: materialize training_latents again"
            )
        inputs = _Inputs(noisy, sigma, batch.text, batch.face, keep_face, references, batch.condition)
        if self.base.info.boundary is None:
            return self._predict(*self.attached[0], inputs, first_frame)
        velocity = torch.empty_like(noisy)
        high = sigma >= self.base.info.boundary
        for (transformer, fusion), chosen in zip(self.attached, (high, ~high), strict=True):
            rows = chosen.nonzero()[:, 0]
            if len(rows):
                part = self._predict(transformer, fusion, _rows(inputs, rows), first_frame)
                velocity = velocity.index_copy(0, rows, part.to(velocity))
        return velocity

    def contrastive_loss(
        self, pairs: FacePairs, gather: Callable[[torch.Tensor], torch.Tensor] = lambda own: own
    ) -> torch.Tensor:
        """The pose-shared aligners' own loss, a mean over them.

        Args:
            pairs: this process's.
            gather: what they are aligned to, (p, W), together with those of all other processes, (P, W).

        Raises:
            ValueError: there is none.
        """
        losses = []
        for _, fusion in self.attached:
            aligner = fusion.pose_aligner
            if aligner is None:
                raise ValueError("this adapter has no pose-shared aligner to train: set FusionConfig.aligner")
            first, second = (gather(aligner(*view)) for view in zip(*pairs, strict=True))
            losses.append(aligner.contrastive_loss(first, second))
        return torch.stack(losses).mean()

    def trainable(self) -> dict[str, nn.Parameter]:
        """What has gradients, by "part/key", in an order that is always the same."""
        return {name: value for name, value in self.named() if value.requires_grad}

    def named(self) -> Iterator[tuple[str, nn.Parameter]]:
        """All parameters, by "part/key"; what trains among them under its name in `trainable`."""
        for suffix, (transformer, fusion) in zip(SUFFIXES, self.attached, strict=False):
            for key, value in fusion.named_parameters():
                yield f"{ADAPTER}{suffix}/{key}", value
            for key, value in transformer.named_parameters():
                yield f"{LORA if '.lora_' in key else WEIGHTS}{suffix}/{key}", value

    def _predict(self, transformer: Transformer, fusion: FaceFusion, inputs: _Inputs, first_frame: bool) -> torch.Tensor:
        layout, wan = self.base.info.layout, transformer.config
        given: dict[str, torch.Tensor | None] = {"hidden_states": inputs.noisy}
        if layout == "i2v" and inputs.condition is not None:
            given = image_to_video_inputs(inputs.noisy, inputs.condition, wan.in_channels)
        elif layout == "vace" and inputs.condition is not None:
            given = vace_inputs(inputs.noisy, inputs.condition, wan.vace_in_channels)
        timestep = TIMESTEPS * inputs.sigma.float()
        if layout == "ti2v":
            timestep = token_timesteps(inputs.sigma, inputs.noisy, wan.patch_size, first_frame)
        ours: dict[str, Any] = {FACE: fusion(inputs.face.in_precision(fusion.dtype), inputs.keep_face)}
        if inputs.references is not None:
            ours[REFERENCES] = inputs.references
        given["encoder_hidden_states"] = inputs.text
        # As stock pipelines do: what encoders computed in one precision is read by a transformer in another.
        dtype = transformer.dtype  # which looks through all modules
        given = {name: None if value is None else value.to(dtype) for name, value in given.items()}
        return transformer(**given, timestep=timestep, attention_kwargs=ours, return_dict=False)[0]


def assemble(base: Base, features: FaceFeatures, fusion: FusionConfig, train: TrainConfig) -> FusedModel:
    """Fresh fusions (and LoRA) on `base`, with gradients for what `train.trainable` names; initialised from its seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(train.seed)
        fusions = [_fuse(transformer, features, fusion, train) for transformer in base.transformers]
    return FusedModel(base, *fusions)


def unfreeze(transformer: Transformer, train: TrainConfig) -> None:
    """Gradients for what `train.trainable` names of the base; its LoRA is added where it is named."""
    transformer.requires_grad_(train.trainable == "all")
    if train.trainable == "adapter_and_cross_attention":
        for name, parameter in transformer.named_parameters():
            parameter.requires_grad_(_CROSS_ATTENTION.match(name) is not None)
    if train.trainable == "adapter_and_lora":
        lora = LoraConfig(r=train.lora_rank, lora_alpha=train.lora_alpha, target_modules=LORA_TARGETS)
        transformer.add_adapter(lora, adapter_name=LORA_NAME)


def _fuse(transformer: Transformer, features: FaceFeatures, fusion: FusionConfig, train: TrainConfig) -> FaceFusion:
    adapter = FaceFusion.for_transformer(transformer, features, fusion).to(transformer.device)
    unfreeze(transformer, train)
    attach(adapter, transformer)
    return adapter


def _rows(value: Any, rows: torch.Tensor) -> Any:
    """These rows of a tensor, of a tuple of tensors, or of what is not given."""
    if value is None:
        return None
    if isinstance(value, torch.Tensor):
        return value[rows]
    return type(value)(*(_rows(part, rows) for part in value))
