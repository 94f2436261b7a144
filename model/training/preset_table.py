"""What each preset costs, computed without its weights: parameters, tokens, floating-point operations, memory.

Belongs here: the numbers, as rows. Not here: how they are printed (`cli`), the presets (`presets`).

Everything is built on torch's meta device: shapes and dtypes are real, no memory is taken. Operations are those of one
forward of one clip, counted by torch's `FlopCounterMode` while the real modules run, so that the table cannot drift from the
code; a multiplication and an addition count as two.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from model.bases.base import Transformer
from model.bases.build import build_transformer
from model.encoding.face_features import FaceFeatures
from model.face_branch.attach import FACE, REFERENCES, attach
from model.face_branch.fusion import FaceFusion
from model.face_branch.references import References, shown_tokens
from model.face_branch.trainable import unfreeze
from model.presets import CLIP_IMAGE_ROWS, PRESETS, TEXT_ROWS, Preset
from model.training.weight_offload import blocks_of, movable_weights

_GIB = 2**30
_BASE_BYTES = 2  # bfloat16
_TRAINED_BYTES = 16  # float32: the value, its gradient and AdamW's two moments


@dataclass(frozen=True)
class PresetSize:
    """What of a preset needs no forward, and so is known in a second. Counts are of all of a base's transformers."""

    preset: str
    base_parameters: int
    adapter_parameters: int
    lora_parameters: int
    trained_parameters: int
    movable_parameters: int
    """Of the base's, those that `train.shard_base` and `train.offload_base` move: of the blocks' frozen linear layers."""
    video_tokens: int
    """Of all that a forward draws: VACE draws the person's picture as one more latent frame."""
    reference_tokens: int
    """Those that are shown: `masked_share` of each view's are hidden, in training and in drawing."""


@dataclass(frozen=True)
class PresetRow(PresetSize):
    """One preset. Operations are of one forward, of the transformer that runs."""

    forward_tflop: float
    """The base alone."""
    branch_tflop: float
    """What the face branch adds: gates and attentions in every block."""
    references_tflop: float
    """What the reference tokens add."""
    branch_share: float
    """Of `forward_tflop`."""
    weights_gib: float
    """Transformers in bfloat16, adapters in float32."""
    training_gib: float
    """Beside `weights_gib`: gradients and optimiser state, and a clip's block inputs under gradient checkpointing; not the
    activations of the one block that is being computed, which depend on the attention kernel."""


def preset_table(names: Iterable[str] | None = None) -> list[PresetRow]:
    """A row for each preset, or for those named, in order."""
    return [preset_row(PRESETS[name]) for name in names or PRESETS]


def preset_size(preset: Preset) -> PresetSize:
    """Builds the preset on the meta device and counts what is there."""
    spec, experts = preset.base, preset.base.experts
    with torch.device("meta"):
        transformer = build_transformer(spec).requires_grad_(False)
        base_parameters = _count(transformer)
        fusion = FaceFusion.for_transformer(transformer, _features(preset), preset.fusion)
        unfreeze(transformer, preset.train)
    lora_parameters = sum(p.numel() for name, p in transformer.named_parameters() if ".lora_" in name)
    trained = _count(fusion) + sum(p.numel() for p in transformer.parameters() if p.requires_grad)
    movable = sum(weight.numel() for block in blocks_of(transformer) for weight in movable_weights(block))
    return PresetSize(
        preset=preset.name,
        base_parameters=experts * base_parameters,
        adapter_parameters=experts * _count(fusion),
        lora_parameters=experts * lora_parameters,
        trained_parameters=experts * trained,
        movable_parameters=experts * movable,
        video_tokens=_video_tokens(preset),
        reference_tokens=_reference_tokens(preset),
    )


def preset_row(preset: Preset) -> PresetRow:
    """Its size, and the operations of forwards on the meta device: LoRA's are none of them, it is merged for inference."""
    spec, size = preset.base, preset_size(preset)
    with torch.device("meta"):
        transformer = build_transformer(spec).requires_grad_(False)
        inputs = _inputs(preset)
        alone = _tflop(transformer, inputs)
        features = _features(preset)
        fusion = FaceFusion.for_transformer(transformer, features, preset.fusion)
        with torch.no_grad():
            face = fusion(features)
        attach(fusion, transformer)
        with_face = _tflop(transformer, inputs | {"attention_kwargs": {FACE: face}})
        views, references_tflop = _views(preset), 0.0
        if views is not None:
            shown = views._replace(visible=torch.empty(1, size.reference_tokens, dtype=torch.long))
            both = _tflop(transformer, inputs | {"attention_kwargs": {FACE: face, REFERENCES: shown}})
            references_tflop = both - with_face
    blocks = spec.transformer.num_layers + len(spec.transformer.vace_layers or ())
    block_inputs = blocks * (size.video_tokens + size.reference_tokens) * spec.transformer.width * _BASE_BYTES
    weights = _BASE_BYTES * (size.base_parameters + size.lora_parameters) + 4 * size.adapter_parameters
    return PresetRow(
        **vars(size),
        forward_tflop=alone,
        branch_tflop=with_face - alone,
        references_tflop=references_tflop,
        branch_share=(with_face - alone) / alone,
        weights_gib=weights / _GIB,
        training_gib=(_TRAINED_BYTES * size.trained_parameters + block_inputs) / _GIB,
    )


def _views(preset: Preset) -> References | None:
    if preset.fusion.references is None:
        return None
    side = preset.clip.view_side // preset.base.spatial_factor
    return References(torch.empty(1, preset.fusion.references.views, preset.base.latent_channels, side, side))


def _reference_tokens(preset: Preset) -> int:
    wanted, views = preset.fusion.references, _views(preset)
    if wanted is None or views is None:
        return 0
    return shown_tokens(views.latents, (1, preset.base.patch, preset.base.patch), wanted.masked_share)


def _video_tokens(preset: Preset) -> int:
    frames, height, width = _latent_size(preset)
    return frames * (height // preset.base.patch) * (width // preset.base.patch)


def _latent_size(preset: Preset) -> tuple[int, int, int]:
    spec, clip = preset.base, preset.clip
    frames = 1 + (clip.frames - 1) // spec.temporal_factor + (spec.layout == "vace")
    return frames, clip.height // spec.spatial_factor, clip.width // spec.spatial_factor


def _inputs(preset: Preset) -> dict[str, Any]:
    """One clip, as the stock pipeline of this base calls its transformer."""
    wan, size = preset.base.transformer, _latent_size(preset)
    inputs: dict[str, Any] = {
        "hidden_states": torch.empty(1, wan.in_channels, *size),
        "timestep": torch.empty(1, _video_tokens(preset)) if preset.base.layout == "ti2v" else torch.empty(1),
        "encoder_hidden_states": torch.empty(1, TEXT_ROWS, wan.text_dim),
        "return_dict": False,
    }
    if wan.image_dim is not None:
        inputs["encoder_hidden_states_image"] = torch.empty(1, CLIP_IMAGE_ROWS, wan.image_dim)
    if wan.vace_in_channels is not None:
        inputs["control_hidden_states"] = torch.empty(1, wan.vace_in_channels, *size)
        inputs["control_hidden_states_scale"] = torch.empty(len(wan.vace_layers or ()))
    return inputs


def _features(preset: Preset) -> FaceFeatures:
    shapes = preset.features
    return FaceFeatures(
        identity=torch.empty(1, shapes.identity_width),
        semantic=torch.empty(1, shapes.semantic_tokens, shapes.semantic_width),
        detail=torch.empty(1, shapes.detail_tokens, shapes.detail_width),
        angles_deg=torch.empty(1, 3),
    )


def _tflop(transformer: Transformer, inputs: dict[str, Any]) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        transformer(**inputs)
    return counter.get_total_flops() / 1e12


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
