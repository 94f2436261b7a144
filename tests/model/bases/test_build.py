"""Bases: built on the meta device from their configs; the tiny ones built where they are missing."""

from pathlib import Path

import pytest
import torch

from model.bases.base import load_base
from model.bases.build import build_tiny_base, build_transformer, ensure_base
from model.bases.components import BaseError
from model.bases.specs import TINY, TINY_TWO_EXPERTS, WAN22_TI2V_5B
from model.presets import PRESETS


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("wan2.1-t2v-1.3b", 1_419),
        ("wan2.1-t2v-14b", 14_288),
        ("wan2.1-i2v-14b", 16_395),
        ("wan2.2-ti2v-5b", 5_000),
        ("wan2.2-i2v-a14b", 14_289),
        ("wan2.1-vace-1.3b", 2_154),
        ("wan2.1-vace-14b", 17_338),
    ],
)
def test_every_real_base_is_built_without_its_weights(name: str, millions: int) -> None:
    spec = PRESETS[name].base
    with torch.device("meta"):
        transformer = build_transformer(spec)
    assert round(sum(parameter.numel() for parameter in transformer.parameters()) / 1e6) == millions
    assert spec.transformer.width == transformer.patch_embedding.out_channels
    assert (spec.experts == 2) == (spec.boundary is not None)


def test_a_tiny_base_is_built_when_missing_a_real_one_is_asked_for(tmp_path: Path) -> None:
    info = ensure_base(TINY, tmp_path / "tiny")
    assert ensure_base(TINY, tmp_path / "tiny") == info
    with pytest.raises(
        BaseError, match=r"hf download Wan-AI/Wan2\.2-TI2V-5B-Diffusers --local-dir .*`lafid adopt wan2\.2-ti2v-5b`"
    ):
        ensure_base(WAN22_TI2V_5B, tmp_path / "real")
    with pytest.raises(BaseError, match=r"holds base tiny, not wan2\.2-ti2v-5b"):
        ensure_base(WAN22_TI2V_5B, tmp_path / "tiny")


def test_two_experts_are_two_transformers(tmp_path: Path) -> None:
    build_tiny_base(tmp_path / "two", spec=TINY_TWO_EXPERTS)
    base = load_base(tmp_path / "two", "cpu")
    assert base.info.boundary == 0.9
    first, second = (transformer.patch_embedding.weight for transformer in base.transformers)
    assert not torch.equal(first, second)
    assert base.image_to_video().config.boundary_ratio == 0.9


def test_half_precision_keeps_what_must_stay_in_float32(base_dir: Path) -> None:
    transformer = load_base(base_dir, "cpu", torch.bfloat16).transformer
    assert transformer.blocks[0].attn1.to_q.weight.dtype == torch.bfloat16
    assert transformer.blocks[0].scale_shift_table.dtype == torch.float32
    assert transformer.condition_embedder.time_embedder.linear_1.weight.dtype == torch.float32
