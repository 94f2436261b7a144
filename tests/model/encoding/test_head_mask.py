"""The oval, a network of the store, and the refusal to cut otherwise than in training."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from model.encoding.face_processor import head_and_shoulders
from model.encoding.head_mask import (
    MASKS,
    CropFrame,
    MaskInfo,
    MaskUnusable,
    MattingMask,
    OvalMask,
    choose_mask,
    mask_of,
    open_mask,
)
from model.model_store.inspection import ModelUnfit
from model.model_store.install import install
from model.model_store.registry import Kind
from model.model_store.store import ModelMissing, ModelStore

BOX = (40.0, 30.0, 60.0, 50.0)
FRAME = CropFrame(0, 0, BOX, None)


@pytest.fixture
def models(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models")


@pytest.fixture
def with_network(models: ModelStore, tmp_path: Path, write_network: Callable[..., Path]) -> Callable[..., ModelStore]:
    """A store with a network that gives this opacity everywhere, or in a picture (32, 32)."""

    def make(opacity: float | np.ndarray = 0.5) -> ModelStore:
        install(models, "modnet", [write_network(tmp_path / "given.onnx", Kind.MATTING, opacity)])
        return models

    return make


def test_without_a_network_it_is_the_oval_and_says_why(models: ModelStore) -> None:
    choice = choose_mask("auto", models)
    assert (choice.info, choice.path, choice.licence) == (MaskInfo(name="oval", sha256=None), None, None)
    assert choice.reason == "auto: the model store holds no matting network (modnet)"
    assert isinstance(open_mask(choice), OvalMask)


def test_a_network_of_the_store_goes_before_the_oval(with_network: Callable[..., ModelStore]) -> None:
    store = with_network()
    choice = choose_mask("auto", store)
    assert (choice.info.name, choice.licence) == ("modnet", "Apache-2.0")
    assert choice.info.sha256 == store.record("modnet").files[0].sha256
    assert choice == choose_mask("auto", store)
    assert choose_mask("modnet", store).info == choice.info
    assert choose_mask("oval", store).path is None


def test_what_is_not_there_is_refused(models: ModelStore) -> None:
    with pytest.raises(ModelMissing, match="the model modnet \\(head mask\\) is missing .*lafid models fetch modnet"):
        choose_mask("modnet", models)
    with pytest.raises(MaskUnusable, match=f"no mask 'bisenet': choose one of auto, {', '.join(MASKS)}"):
        choose_mask("bisenet", models)


@pytest.mark.parametrize("kind", [Kind.FACE_MESH, Kind.SCRFD, Kind.ARCFACE])
def test_another_network_is_refused_when_it_is_added(
    models: ModelStore, tmp_path: Path, write_network: Callable[..., Path], kind: Kind
) -> None:
    with pytest.raises(ModelUnfit, match="is not a matting network"):
        install(models, "modnet", [write_network(tmp_path / "given.onnx", kind)])
    with pytest.raises(ModelUnfit, match="is not a face_mesh network: it has matting"):
        install(models, "face_mesh", [write_network(tmp_path / "given.onnx", Kind.MATTING)])


def test_opacity_blends_the_person_into_white(with_network: Callable[..., ModelStore]) -> None:
    left = np.zeros((32, 32), np.float32)
    left[:, :16] = 1.0
    mask = open_mask(choose_mask("auto", with_network(left)))
    assert isinstance(mask, MattingMask)
    image = np.full((120, 120, 3), 55, np.uint8)
    crop = head_and_shoulders(image, BOX, mask)
    assert crop.shape == (48, 48, 3)
    assert (crop[:, :20] == 55).all()
    assert (crop[:, 28:] == 255).all()
    assert (np.diff(crop[24, :, 0].astype(int)) >= 0).all(), "the edge is soft"


def test_half_opacity_is_half_white(with_network: Callable[..., ModelStore]) -> None:
    crop = head_and_shoulders(np.full((120, 120, 3), 55, np.uint8), BOX, open_mask(choose_mask("auto", with_network(0.5))))
    assert (crop == 155).all()


def test_the_network_is_shown_the_crop_in_its_own_range(models: ModelStore, tmp_path: Path) -> None:
    """RGB from -1 to 1, channels first, 512 px where the graph leaves the size open: it gives back what it was shown."""
    from onnx import TensorProto, helper, numpy_helper, save

    weights = [
        numpy_helper.from_array(np.array([value], np.int64), name) for value, name in ((0, "from"), (1, "to"), (1, "axis"))
    ]
    node = helper.make_node("Slice", ["input", "from", "to", "axis"], ["output"])
    shapes = [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, "H", "W"])]
    shapes.append(helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", 1, "H", "W"]))
    graph = helper.make_graph([node], "red", shapes[:1], shapes[1:], weights)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(tmp_path / "red.onnx"))
    install(models, "modnet", [tmp_path / "red.onnx"])
    mask = open_mask(choose_mask("auto", models))
    crop = np.zeros((64, 64, 3), np.uint8)
    crop[..., 0] = np.linspace(0, 255, 64).round().astype(np.uint8)
    opacity = mask.opacity(crop, FRAME)
    assert opacity.shape == (64, 64)
    assert opacity.dtype == np.float32
    assert np.allclose(opacity, np.clip(crop[..., 0] / 127.5 - 1, 0, 1), atol=0.02)


def test_a_checkpoint_gets_its_own_mask_or_none(with_network: Callable[..., ModelStore], models: ModelStore) -> None:
    assert isinstance(mask_of(MaskInfo(), models), OvalMask)
    wanted = MaskInfo(name="modnet", sha256="0" * 64)
    with pytest.raises(MaskUnusable, match=r"cut out by modnet 0{12} when the model was trained: .*lafid models fetch modnet"):
        mask_of(wanted, models)
    store = with_network()
    with pytest.raises(MaskUnusable, match=r"by modnet 0{12} when the model was trained, .*/modnet holds modnet [0-9a-f]{12}"):
        mask_of(wanted, store)
    there = choose_mask("modnet", store).info
    assert mask_of(there, store).info == there
