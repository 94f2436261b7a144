"""A plugin of the tests: small real weights where ../shared is beside the project, and tiny networks of the right shapes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model.model_store.install import install
from model.model_store.registry import Kind, Licence
from model.model_store.store import ModelStore
from tests.once import built_once

TESTDATA = Path(__file__).resolve().parents[2] / "shared" / "testdata"
REAL = {
    "scrfd_2.5g": ("scrfd_2.5g_bnkps.onnx",),
    "scrfd_500m": ("scrfd_500m_kps.onnx",),
    "arcface_mobilefacenet_foamliu": ("arcface_mobilefacenet_foamliu.onnx",),
    "arcface_mobilefacenet_insightface": ("arcface_mobilefacenet_insightface_from_mxnet.onnx",),
    "fsanet": ("fsanet-var-iter-688590.onnx", "fsanet-1x1-iter-688590.onnx"),
    "face_mesh": ("FaceMesh_deepfacelive.onnx",),
}
_SHAPES: dict[Kind, tuple[tuple[int | str, ...], tuple[tuple[int, ...], ...]]] = {
    Kind.SCRFD: ((1, 3, "H", "W"), tuple((4, width) for width in (1, 1, 1, 4, 4, 4, 10, 10, 10))),
    Kind.ARCFACE: ((1, 3, 112, 112), ((1, 8),)),
    Kind.FSANET: ((1, 3, 64, 64), ((1, 3),)),
    Kind.FACE_MESH: ((1, 192, 192, 3), ((1, 1, 1, 1404),)),
    Kind.LANDMARKS_106: ((1, 3, 192, 192), ((1, 212),)),
    Kind.MATTING: ((1, 3, 32, 32), ((1, 1, 32, 32),)),
}


@pytest.fixture(scope="session")
def testdata() -> Path:
    """../shared/testdata: clips, photos and small real weights."""
    if not (TESTDATA / "weights").is_dir():
        pytest.skip("needs ../shared/testdata beside the project: real weights, clips and photos")
    return TESTDATA


@pytest.fixture(scope="session")
def real_weights(testdata: Path) -> dict[str, list[Path]]:
    """Model to its files, as they lie in ../shared."""
    return {name: [testdata / "weights" / file for file in files] for name, files in REAL.items()}


@pytest.fixture(scope="session")
def real_store(real_weights: dict[str, list[Path]], tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    """A store with every small real model, its terms accepted. Tests read it only."""
    store = ModelStore(tmp_path_factory.mktemp("real") / "models")
    store.accept(Licence.RESEARCH)
    for name, files in real_weights.items():
        install(store, name, files)
    return store


@pytest.fixture(scope="session")
def write_network() -> Callable[..., Path]:
    """Writes an ONNX network with the inputs and outputs of a kind, whose outputs are constants."""
    return _write_network


def _write_network(path: Path, kind: Kind, constant: NDArray[np.float32] | float = 0.0) -> Path:
    from onnx import TensorProto, helper, numpy_helper, save

    given, outputs = _SHAPES[kind]
    nodes, values = [], []
    # The input has to lead somewhere: its mean, times nought, is added to every output.
    nodes.append(helper.make_node("ReduceMean", ["input"], ["mean"], keepdims=0))
    nodes.append(helper.make_node("Mul", ["mean", "nought"], ["nothing"]))
    weights = [numpy_helper.from_array(np.zeros((), np.float32), "nought")]
    for index, shape in enumerate(outputs):
        value = np.broadcast_to(np.asarray(constant, np.float32), shape)
        weights.append(numpy_helper.from_array(np.ascontiguousarray(value), f"value{index}"))
        nodes.append(helper.make_node("Add", [f"value{index}", "nothing"], [f"output{index}"]))
        values.append(helper.make_tensor_value_info(f"output{index}", TensorProto.FLOAT, shape))
    graph = helper.make_graph(nodes, "tiny", [helper.make_tensor_value_info("input", TensorProto.FLOAT, given)], values, weights)
    path.parent.mkdir(parents=True, exist_ok=True)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    return path


@pytest.fixture(scope="session")
def random_6drepnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6DRepNet's real architecture with random weights, whose answers depend on the picture."""

    def build(folder: Path) -> None:
        import torch

        from model.face_engine.head_pose.sixdrepnet_network import build_network

        torch.manual_seed(0)
        network = build_network()
        for layer in network.modules():
            if isinstance(layer, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                torch.nn.init.zeros_(layer.bias)
        folder.mkdir()
        torch.save(network.state_dict(), folder / "random.pth")

    return built_once(tmp_path_factory, "6drepnet", build) / "random.pth"


@pytest.fixture(scope="session")
def store_6drepnet(random_6drepnet: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    """A store with 6DRepNet of random weights, exported. Tests read it only."""

    def export(folder: Path) -> None:
        install(ModelStore(folder / "models"), "6drepnet", [random_6drepnet])

    return ModelStore(built_once(tmp_path_factory, "store_6drepnet", export) / "models")
