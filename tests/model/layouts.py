"""Tiny bases of the released layouts, with Wan's VAE at its channel numbers where pictures are given; released ones cut short."""

from dataclasses import replace

import torch
from diffusers import AutoencoderKLWan

from model.bases.base import Base
from model.bases.build import build_transformer
from model.bases.specs import TINY, TINY_TWO_EXPERTS, BaseSpec
from model.presets import PRESETS, Preset


def _of(spec: BaseSpec, name: str, layout: str, **transformer: object) -> BaseSpec:
    return spec.model_copy(
        update={"name": name, "layout": layout, "transformer": spec.transformer.model_copy(update=transformer)}
    )


# 48 latent channels twice, and a mask channel a frame of a latent frame (i2v) or a pixel of a latent (VACE).
TINY_I2V = _of(TINY, "tiny-i2v", "i2v", in_channels=97, image_dim=64, added_kv_proj_dim=192)
TINY_I2V_TWO_EXPERTS = _of(TINY_TWO_EXPERTS, "tiny-i2v-two-experts", "i2v", in_channels=97)
TINY_T2V_TWO_EXPERTS = _of(TINY_TWO_EXPERTS, "tiny-t2v-two-experts", "t2v")
TINY_VACE = _of(TINY, "tiny-vace", "vace", vace_layers=(0,), vace_in_channels=112)

WITH_PICTURES = {spec.name: spec for spec in (TINY_I2V, TINY_I2V_TWO_EXPERTS, TINY_VACE)}


def shallow(name: str, blocks: int = 2) -> Preset:
    """The preset on a base of fewer blocks: every share of a block's work is the same, and counting takes less time."""
    whole = PRESETS[name]
    wan = whole.base.transformer
    layers = None if wan.vace_layers is None else tuple(layer for layer in wan.vace_layers if layer < blocks)
    cut = wan.model_copy(update={"num_layers": blocks, "vace_layers": layers})
    return whole.model_copy(update={"base": whole.base.model_copy(update={"transformer": cut})})


def with_wan_vae(base: Base, spec: BaseSpec) -> Base:
    """`base` with a random Wan VAE, 8 x 8 pixels and 4 frames a latent, and a transformer of `spec` for its 16 channels."""
    wan = {"in_channels": 36 if spec.layout == "i2v" else 16, "out_channels": 16}
    if spec.layout == "vace":
        wan["vace_in_channels"] = 96
    torch.manual_seed(0)
    vae = AutoencoderKLWan(base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True])
    transformer = build_transformer(_of(spec, spec.name, spec.layout, **wan))
    for module in (vae, transformer):
        module.eval().requires_grad_(False)
    info = base.info.model_copy(update={"boundary": None})
    return replace(base, info=info, codec=vae, transformer=transformer, transformer_2=None)
