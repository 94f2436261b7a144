"""Dense landmarks brought into the image, and reduced to the 68 points."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from model.face_engine.mouth.landmark_networks import _COORDINATE_POINTS, _MESH_POINTS, load_mouth
from model.model_store.install import install
from model.model_store.registry import Kind, Licence
from model.model_store.store import ModelStore

BOX = (100.0, 40.0, 160.0, 120.0)
"""Longer side 80: Face Mesh's crop is 100 px, from (80, 30), 2d106's 120 px, from (70, 20)."""


@pytest.fixture
def models(tmp_path: Path) -> ModelStore:
    store = ModelStore(tmp_path / "models")
    store.accept(Licence.RESEARCH)
    return store


@pytest.fixture
def image() -> np.ndarray:
    return np.zeros((200, 300, 3), np.uint8)


def test_face_mesh_points_land_in_the_image(
    models: ModelStore, write_network: Callable[..., Path], tmp_path: Path, image: np.ndarray
) -> None:
    mesh = np.zeros((468, 3), np.float32)
    mesh[:, 0], mesh[:, 1] = np.linspace(0, 192, 468), np.linspace(192, 0, 468)
    install(models, "face_mesh", [write_network(tmp_path / "a.onnx", Kind.FACE_MESH, mesh.reshape(1, 1, 1, -1))])
    points = load_mouth(models.require("face_mesh")).points_68(image, BOX)
    assert points is not None
    expected = mesh[list(_MESH_POINTS), :2] * (100 / 192) + (80, 30)
    np.testing.assert_allclose(points, expected, atol=1e-3)


def test_2d106_points_land_in_the_image(
    models: ModelStore, write_network: Callable[..., Path], tmp_path: Path, image: np.ndarray
) -> None:
    raw = np.linspace(-1, 1, 212, dtype=np.float32).reshape(106, 2)
    install(models, "2d106", [write_network(tmp_path / "a.onnx", Kind.LANDMARKS_106, raw.reshape(1, -1))])
    points = load_mouth(models.require("2d106")).points_68(image, BOX)
    assert points is not None
    expected = (raw[list(_COORDINATE_POINTS)] + 1) * 96 * (120 / 192) + (70, 20)
    np.testing.assert_allclose(points, expected, atol=1e-2)


@pytest.mark.parametrize(("indices", "points"), [(_MESH_POINTS, 468), (_COORDINATE_POINTS, 106)])
def test_each_of_the_68_points_is_another_one(indices: tuple[int, ...], points: int) -> None:
    assert len(indices) == len(set(indices)) == 68
    assert max(indices) < points


@pytest.mark.parametrize(("name", "kind"), [("face_mesh", Kind.FACE_MESH), ("2d106", Kind.LANDMARKS_106)])
def test_a_box_without_area_has_no_points(
    models: ModelStore, write_network: Callable[..., Path], tmp_path: Path, image: np.ndarray, name: str, kind: Kind
) -> None:
    install(models, name, [write_network(tmp_path / "a.onnx", kind)])
    mouth = load_mouth(models.require(name))
    assert mouth.points_68(image, (10, 10, 10, 30)) is None
    assert len(mouth.fingerprint) == 64
    assert mouth.name == name
