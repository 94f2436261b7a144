"""Bases: built on the meta device from their configs, adopted from a snapshot by commit and hash, refused when another."""

from pathlib import Path

import pytest
import torch

from model.bases.base import BaseError, load_base, read_base_info
from model.bases.build import adopt_base, build_tiny_base, build_transformer, ensure_base
from model.bases.specs import TINY, TINY_TWO_EXPERTS, WAN22_TI2V_5B, BaseSpec
from model.presets import PRESETS

COMMIT = "0123456789abcdef0123456789abcdef01234567"


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


@pytest.fixture
def fetched(tmp_path: Path) -> tuple[Path, BaseSpec]:
    """What a download leaves of a base that is the tiny one in all but name."""
    build_tiny_base(tmp_path / "wan")
    (tmp_path / "wan" / "base.json").unlink()
    return tmp_path / "wan", TINY.model_copy(update={"name": "wan", "repository": "owner/wan"})


def test_a_fetched_base_is_named_by_repository_commit_and_hash(fetched: tuple[Path, BaseSpec]) -> None:
    folder, spec = fetched
    info = adopt_base(folder, spec, COMMIT)
    assert (info.repository, info.revision) == ("owner/wan", COMMIT)
    assert load_base(folder, "cpu").info == info == read_base_info(folder)
    assert str(info) == f"wan (owner/wan@{COMMIT}) {info.sha256[:12]}"
    (folder / "components" / "README.md").write_text("no component")
    load_base(folder, "cpu")


def test_a_branch_another_commit_or_another_base_is_not_adopted(fetched: tuple[Path, BaseSpec]) -> None:
    folder, spec = fetched
    with pytest.raises(BaseError, match="'main' is no commit"):
        adopt_base(folder, spec, "main")
    with pytest.raises(BaseError, match="fetch that commit"):
        adopt_base(folder, spec.model_copy(update={"revision": "f" * 40}), COMMIT)
    with pytest.raises(BaseError, match=r"has num_attention_heads 4, base wan2\.2-ti2v-5b has 24: it is another base"):
        adopt_base(folder, WAN22_TI2V_5B, COMMIT)
    with pytest.raises(BaseError, match="lacks transformer_2"):
        adopt_base(folder, spec.model_copy(update={"experts": 2, "boundary": 0.9}), COMMIT)
    (folder / "components" / "image_processor").rename(folder / "hidden")
    branch = spec.transformer.model_copy(update={"image_dim": 64})
    with pytest.raises(BaseError, match="lacks image_processor"):
        adopt_base(folder, spec.model_copy(update={"transformer": branch}), COMMIT)
    assert not (folder / "base.json").exists()


def test_a_tiny_base_is_built_when_missing_a_real_one_is_asked_for(tmp_path: Path) -> None:
    info = ensure_base(TINY, tmp_path / "tiny")
    assert ensure_base(TINY, tmp_path / "tiny") == info
    with pytest.raises(BaseError, match=r"hf download Wan-AI/Wan2\.2-TI2V-5B-Diffusers --revision COMMIT .*lafid adopt"):
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
