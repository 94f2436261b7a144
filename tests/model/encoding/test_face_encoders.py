"""The frozen networks that look at a face: real classes of transformers, tiny and random, from folders."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BitImageProcessor,
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    Dinov2Config,
    Dinov2Model,
    SiglipImageProcessor,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from model.bases.base import Base
from model.encoding.encoders import ClipEncoders
from model.encoding.face_encoders import EncoderError, LatentEncoder, VisionEncoder
from model.presets import EncoderConfig
from tests.model.released import store_as

SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "image_size": 32, "patch_size": 8}
PROCESSORS = {
    "clip": lambda: CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
    "siglip": lambda: SiglipImageProcessor(size={"height": 32, "width": 32}),
    "dinov2": lambda: BitImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
}
NETWORKS = {
    "clip": lambda: CLIPVisionModel(CLIPVisionConfig(intermediate_size=64, **SIZES)),
    "siglip": lambda: SiglipVisionModel(SiglipVisionConfig(intermediate_size=64, **SIZES)),
    "dinov2": lambda: Dinov2Model(Dinov2Config(mlp_ratio=2, **SIZES)),
}
TOKENS = {"clip": 17, "siglip": 16, "dinov2": 17}
RNG = np.random.default_rng(0)
CROPS = [RNG.integers(0, 256, (side, side, 3), dtype=np.uint8) for side in (40, 64)]


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[str], Path]:
    def make(kind: str) -> Path:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            NETWORKS[kind]().save_pretrained(tmp_path / kind)
        PROCESSORS[kind]().save_pretrained(tmp_path / kind)
        return tmp_path / kind

    return make


@pytest.mark.parametrize("kind", sorted(NETWORKS))
def test_hidden_states_of_each_family(folder: Callable[[str], Path], kind: str) -> None:
    path = folder(kind)
    encoder = VisionEncoder.from_folder(path, -2, "cpu")
    encoded = encoder.encode(CROPS)
    assert encoded.shape == (2, TOKENS[kind], 32)
    assert torch.equal(encoded, VisionEncoder.from_folder(path, -2, "cpu").encode(CROPS))
    assert torch.allclose(encoded[1:], encoder.encode(CROPS[1:]), atol=1e-5)
    assert not torch.equal(encoded[0], encoded[1])
    assert not any(parameter.requires_grad for parameter in encoder.network.parameters())
    shallow = VisionEncoder.from_folder(path, 1, "cpu")
    assert not torch.allclose(shallow.encode(CROPS), encoded)
    pixels = encoder.processor(images=CROPS, return_tensors="pt")
    states = encoder.network(**pixels, output_hidden_states=True).hidden_states
    assert torch.equal(shallow.encode(CROPS), states[1])


@pytest.mark.parametrize("kind", sorted(NETWORKS))
def test_an_encoder_that_is_stored_in_half_looks_in_float32(folder: Callable[[str], Path], kind: str) -> None:
    path = folder(kind)
    store_as(path, torch.float16)
    assert VisionEncoder.from_folder(path, -2, "cpu").encode(CROPS).dtype == torch.float32


def test_the_fingerprint_names_weights_and_layer(folder: Callable[[str], Path]) -> None:
    path = folder("dinov2")
    first = VisionEncoder.from_folder(path, -2, "cpu").fingerprint
    assert VisionEncoder.from_folder(path, -2, "cpu").fingerprint == first
    assert VisionEncoder.from_folder(path, -1, "cpu").fingerprint != first
    network = Dinov2Model.from_pretrained(path)
    with torch.no_grad():
        next(network.parameters()).add_(1e-3)
    network.save_pretrained(path)
    assert VisionEncoder.from_folder(path, -2, "cpu").fingerprint != first


def test_what_is_no_vision_encoder_is_refused(folder: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="holds no vision encoder"):
        VisionEncoder.from_folder(tmp_path / "nowhere", -2, "cpu")
    BertConfig().save_pretrained(tmp_path / "bert")
    with pytest.raises(EncoderError, match="holds a bert, which is no vision encoder known here: use one of clip,"):
        VisionEncoder.from_folder(tmp_path / "bert", -2, "cpu")
    with pytest.raises(EncoderError, match="hidden states 0 to 3, there is no number 4"):
        VisionEncoder.from_folder(folder("clip"), 4, "cpu")


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("config.json", {"num_hidden_layers": 10**7}, "asks for num_hidden_layers 10000000, its files hold"),
        ("config.json", {"hidden_size": 10**9}, "cannot be loaded: .*(asks for .* numbers|describes no network)"),
        ("config.json", {"attn_implementation": "evil/kernel"}, "asks for attn_implementation"),
        ("preprocessor_config.json", {"size": {"shortest_edge": 10**7}}, "asks for shortest_edge 10000000, more than"),
        (
            "preprocessor_config.json",
            {"auto_map": {"AutoImageProcessor": "evil.Evil"}, "image_processor_type": "Evil"},
            "auto_map",
        ),
        ("adapter_config.json", {}, "adapter_config.json has no place there"),
    ],
)
def test_a_folder_that_would_do_harm_is_refused(
    name: str, changes: dict[str, object], message: str, folder: Callable[[str], Path]
) -> None:
    path = folder("clip") / name
    told = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(told | changes))
    with pytest.raises(EncoderError, match=message):
        VisionEncoder.from_folder(path.parent, -2, "cpu")


def test_pickled_weights_are_refused(folder: Callable[[str], Path]) -> None:
    path = folder("clip")
    torch.save({}, path / "pytorch_model.bin")
    (path / "model.safetensors").unlink()
    with pytest.raises(EncoderError, match="cannot be loaded"):
        VisionEncoder.from_folder(path, -2, "cpu")


def test_latents_of_the_crop(base: Base) -> None:
    encoder = LatentEncoder(base.codec, 32, "weights")
    encoded = encoder.encode(CROPS)
    assert encoded.shape == (2, 64, 48)
    assert torch.allclose(encoded[1:], encoder.encode(CROPS[1:]), atol=1e-6)
    assert encoder.fingerprint != LatentEncoder(base.codec, 64, "weights").fingerprint
    with pytest.raises(EncoderError, match="crops of 30 px do not divide into latents of 4 px"):
        LatentEncoder(base.codec, 30, "weights")


def test_a_folder_serves_both_experts(base: Base, folder: Callable[[str], Path]) -> None:
    path = folder("siglip")
    config = EncoderConfig(semantic="folder", detail="vision", detail_layer=1)
    encoders = ClipEncoders(base, config, path)
    face = encoders.face(CROPS[0], np.ones(4, np.float32), np.array((10.0, 0.0, 0.0), np.float32))
    assert torch.equal(face.semantic, VisionEncoder.from_folder(path, -2, "cpu").encode(CROPS[:1]))
    assert torch.equal(face.detail, VisionEncoder.from_folder(path, 1, "cpu").encode(CROPS[:1]))
    assert torch.equal(face.angles_deg, torch.tensor([[10.0, 0.0, 0.0]]))
    assert encoders.fingerprint != ClipEncoders(base).fingerprint
    assert encoders.fingerprint != ClipEncoders(base, config.model_copy(update={"detail_layer": 2}), path).fingerprint


def test_an_encoder_that_is_not_there_is_named(base: Base) -> None:
    with pytest.raises(EncoderError, match="semantic encoder is a folder: name one"):
        ClipEncoders(base, EncoderConfig(semantic="folder"))
    from dataclasses import replace

    with pytest.raises(EncoderError, match="base tiny has no image encoder"):
        ClipEncoders(replace(base, image_encoder=None))
