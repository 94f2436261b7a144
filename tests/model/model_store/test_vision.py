"""Which vision encoder the presets without one of their own are given."""

import json
from pathlib import Path

import pytest

from model.encoding.face_encoders import _VISION_CLASSES
from model.model_store.inspection import ModelUnfit
from model.model_store.install import install
from model.model_store.registry import VISION_TYPES, Kind
from model.model_store.store import ModelMissing, ModelStore
from model.model_store.vision import VisionAmbiguous, vision_folder


@pytest.fixture
def models(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    folder = tmp_path / "clip"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "clip"}))
    for name in ("model.safetensors", "preprocessor_config.json", "README.md"):
        (folder / name).write_text(name)
    return folder


def test_the_stores_only_one_is_taken(models: ModelStore, clip: Path) -> None:
    added = install(models, "clip_vit_h14", [clip])
    assert [(file.name, file.kind) for file in added.record.files] == [
        ("config.json", None),
        ("model.safetensors", Kind.VISION),
        ("preprocessor_config.json", None),
    ]
    assert vision_folder(models) == vision_folder(models, "clip_vit_h14") == models.folder("clip_vit_h14")
    assert vision_folder(models, str(clip)) == clip
    install(models, "dinov2_large", [clip])
    with pytest.raises(VisionAmbiguous, match="name one of clip_vit_h14, dinov2_large"):
        vision_folder(models)


def test_where_there_is_none_the_remedy_is_named(models: ModelStore, clip: Path) -> None:
    with pytest.raises(
        ModelMissing, match=r"`lafid models fetch clip_vit_h14` \(or siglip_so400m, dinov2_large\), or name the folder"
    ):
        vision_folder(models)
    with pytest.raises(ModelMissing, match="siglip_so400m"):
        vision_folder(models, "siglip_so400m")
    with pytest.raises(ModelMissing, match="there is no vision encoder 'nowhere': name a folder, or one of clip_vit_h14"):
        vision_folder(models, "nowhere")


def test_what_is_no_vision_encoder_is_not_added(models: ModelStore, clip: Path) -> None:
    (clip / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ModelUnfit, match="is of a bert, which is no vision encoder known here"):
        install(models, "clip_vit_h14", [clip])
    (clip / "config.json").write_text("[]")
    with pytest.raises(ModelUnfit, match="is no config of transformers"):
        install(models, "clip_vit_h14", [clip])
    (clip / "model.safetensors").unlink()
    with pytest.raises(ModelUnfit, match=r"clip_vit_h14 needs model\.safetensors"):
        install(models, "clip_vit_h14", [clip])
    assert not models.present("clip_vit_h14")


def test_what_can_be_added_can_be_run() -> None:
    assert set(_VISION_CLASSES) == VISION_TYPES
