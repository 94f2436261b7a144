"""A network is loaded whole or not at all."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from model.bases.components import BaseError, load_component, outline
from tests.model.released import store_as


@pytest.fixture
def part(base_dir: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of one of the tiny base's networks."""
    folder = tmp_path / request.param
    folder.mkdir()
    for path in (base_dir / "components" / request.param).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.mark.parametrize("part", ["transformer", "text_encoder", "image_encoder"], indirect=True)
def test_what_is_missing_or_unknown_is_named(part: Path) -> None:
    [weights] = part.glob("*.safetensors")
    tensors = load_file(weights)
    lost = sorted(tensors)[0]
    stray = {name: tensor for name, tensor in tensors.items() if name != lost} | {"stray": tensors[lost].clone()}
    save_file(stray, weights, metadata={"format": "pt"})
    for names_only in (False, True):
        with pytest.raises(BaseError, match=f"{part} lacks .*{lost.removeprefix('vision_model.')}; holds, .* stray"):
            load_component(part, names_only=names_only)
    save_file(tensors, weights, metadata={"format": "pt"})
    loaded, named, drawn = load_component(part), load_component(part, names_only=True), outline(part)
    assert {parameter.device.type for network in (named, drawn) for parameter in network.parameters()} == {"meta"}
    assert loaded.state_dict().keys() == drawn.state_dict().keys()


@pytest.mark.parametrize("part", ["transformer", "text_encoder"], indirect=True)
def test_another_shape_or_no_weights_is_refused(part: Path) -> None:
    [weights] = part.glob("*.safetensors")
    tensors = load_file(weights)
    name = next(name for name, tensor in tensors.items() if tensor.ndim > 1)
    save_file(tensors | {name: tensors[name][:1].clone()}, weights, metadata={"format": "pt"})
    wanted, stored = (re.escape(str(tuple(tensor.shape))) for tensor in (tensors[name], tensors[name][:1]))
    for names_only in (False, True):
        with pytest.raises(BaseError, match=rf"{part} lacks .*{name} of shape {wanted} \({stored} is there\)"):
            load_component(part, names_only=names_only)
    weights.unlink()
    with pytest.raises(BaseError, match=f"{part} cannot be loaded"):
        load_component(part)


@pytest.mark.parametrize("part", ["image_encoder"], indirect=True)
@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16], ids=str)
def test_clip_is_computed_in_float32_however_it_is_stored(part: Path, stored: torch.dtype) -> None:
    store_as(part, stored)
    assert {tensor.dtype for tensor in load_component(part, torch.bfloat16).parameters()} == {torch.float32}
