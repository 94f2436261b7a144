"""Telling networks apart by their graphs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from model.model_store.inspection import ModelUnfit, read_network, require_kind
from model.model_store.registry import Kind, find_entry

WriteNetwork = Callable[..., Path]


@pytest.mark.parametrize("kind", [Kind.SCRFD, Kind.ARCFACE, Kind.FSANET, Kind.FACE_MESH, Kind.LANDMARKS_106])
def test_each_kind_is_known_by_its_shapes(write_network: WriteNetwork, tmp_path: Path, kind: Kind) -> None:
    network = read_network(write_network(tmp_path / "a.onnx", kind))
    assert network.kind is kind
    assert network.embedding_dim == (8 if kind is Kind.ARCFACE else None)


def test_real_networks_are_known(real_weights: dict[str, list[Path]]) -> None:
    for name, files in real_weights.items():
        for file in files:
            assert read_network(file).kind is find_entry(name).kind, file


def test_a_face_mesh_is_no_detector(write_network: WriteNetwork, tmp_path: Path) -> None:
    path = write_network(tmp_path / "a.onnx", Kind.FACE_MESH)
    with pytest.raises(ModelUnfit, match="a.onnx is not a scrfd network: it has face_mesh"):
        require_kind(path, Kind.SCRFD)


@pytest.mark.parametrize("content", [b"", b"not a network", b"PK\x03\x04" + bytes(200)])
def test_what_is_no_network_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelUnfit, match="a.onnx is not an ONNX file"):
        read_network(path)
