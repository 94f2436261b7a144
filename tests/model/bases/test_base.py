"""The tiny base: seeded, whole, named by its hash, verified when loaded."""

import shutil
from pathlib import Path

import pytest
import torch

from model.bases.base import ENCODERS, TRANSFORMERS, Base, load_base
from model.bases.build import build_tiny_base
from model.bases.components import BaseError
from model.encoding.encoders import ClipEncoders


def test_one_seed_gives_one_base(tmp_path: Path) -> None:
    first, again, other = (build_tiny_base(tmp_path / str(n), seed) for n, seed in enumerate((0, 0, 1)))
    assert first == again
    assert first.sha256 != other.sha256


def test_what_is_there_is_not_built_again(tmp_path: Path) -> None:
    info = build_tiny_base(tmp_path / "base", seed=3)
    assert build_tiny_base(tmp_path / "base", seed=4) == info


def test_nothing_pickled_lies_in_it(base_dir: Path) -> None:
    suffixes = {path.suffix for path in base_dir.rglob("*") if path.is_file()}
    assert suffixes == {".json", ".safetensors"}


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    build_tiny_base(tmp_path / "base")
    weights = next((tmp_path / "base").rglob("transformer/*.safetensors"))
    torn = bytearray(weights.read_bytes())
    torn[-1] ^= 1
    weights.write_bytes(bytes(torn))
    with pytest.raises(BaseError, match="changed"):
        load_base(tmp_path / "base", "cpu")


def test_a_missing_base_names_the_remedy(tmp_path: Path, base_dir: Path) -> None:
    with pytest.raises(BaseError, match="holds no base .*`lafid adopt PRESET`"):
        load_base(tmp_path, "cpu")
    shutil.copytree(base_dir / "components", tmp_path / "fetched" / "components")
    with pytest.raises(BaseError, match="a fetched snapshot that nobody has checked.*`lafid adopt PRESET`"):
        load_base(tmp_path / "fetched", "cpu")


def test_it_is_laid_out_as_wan_2_2_ti2v(base_dir: Path) -> None:
    base = load_base(base_dir, "cpu")
    config = base.transformer.config
    assert config.in_channels == config.out_channels == base.codec.config.z_dim == 48
    assert config.image_dim is None
    assert base.image_to_video().config.expand_timesteps
    assert base.size_multiple_px == 16
    assert not any(parameter.requires_grad for parameter in base.transformer.parameters())


def test_who_only_encodes_loads_no_transformer(base_dir: Path, base: Base) -> None:
    light = load_base(base_dir, "cpu", weights=ENCODERS)
    assert {parameter.device.type for parameter in light.transformer.parameters()} == {"meta"}
    assert light.transformer.config.image_dim == base.transformer.config.image_dim
    assert torch.equal(ClipEncoders(light).text("abc"), ClipEncoders(base).text("abc"))
    assert ClipEncoders(light).fingerprint == ClipEncoders(base).fingerprint


def test_who_only_trains_loads_transformers_alone(base_dir: Path, base: Base) -> None:
    light = load_base(base_dir, "cpu", weights=TRANSFORMERS)
    for part in (light.text_encoder, light.image_encoder):
        assert part is not None
        assert {parameter.device.type for parameter in part.parameters()} == {"meta"}
    assert light.size_multiple_px == base.size_multiple_px
    assert light.digests == base.digests
    loaded = light.transformer.state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in base.transformer.state_dict().items())
