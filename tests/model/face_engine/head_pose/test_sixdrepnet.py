"""6DRepNet of random weights, exported and run, against the package's own detector."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PilImage

from model.face_engine.head_pose import sixdrepnet_export
from model.face_engine.head_pose.sixdrepnet import SixDRepNet, face_crop, network_input
from model.face_engine.head_pose.sixdrepnet_export import ExportFailed, export_in_child
from model.face_engine.rotations import stacked_angles
from model.model_store.install import install
from model.model_store.registry import Kind
from model.model_store.store import ModelStore
from tests.forked import Fresh

BOXES = ((180.0, 60.0, 270.0, 190.0), (100.0, 30.0, 380.0, 330.0), (-20.0, -30.0, 200.0, 160.0), (300.0, 300.0, 360.0, 350.0))
PACKAGE = """
import sys, numpy as np
from importlib.util import find_spec
for name in [name for name in sys.modules if name.split(".")[0] == "model"]:
    del sys.modules[name]
sys.path[:0] = find_spec("sixdrepnet").submodule_search_locations  # before ours: it wants its own `model`
from sixdrepnet import SixDRepNet
detector = SixDRepNet(gpu_id=-1, dict_path=sys.argv[1])
crops = np.load(sys.argv[2])
angles = [np.ravel(detector.predict(crops[name][..., ::-1])) for name in sorted(crops)]
np.save(sys.argv[3], np.array(angles))
"""


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    return pytest.importorskip("skimage.data", reason="the portrait comes with scikit-image").astronaut()


@pytest.fixture(scope="module")
def network(store_6drepnet: ModelStore) -> SixDRepNet:
    return SixDRepNet(store_6drepnet.require("6drepnet"))


@pytest.fixture(scope="module")
def by_package(
    fresh_processes: Fresh, random_6drepnet: Path, portrait: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> np.ndarray:
    """(4, 3) pitch, yaw, roll of `SixDRepNet.predict`, in a process of its own: it takes the name of our package."""
    folder = tmp_path_factory.mktemp("package")
    np.savez(folder / "crops.npz", **{str(k): face_crop(portrait, box) for k, box in enumerate(BOXES)})
    [ended] = fresh_processes(PACKAGE, random_6drepnet, folder / "crops.npz", folder / "angles.npy", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    return np.load(folder / "angles.npy")


def test_angles_are_those_of_the_package(network: SixDRepNet, portrait: np.ndarray, by_package: np.ndarray) -> None:
    rotations = network.rotations([portrait] * len(BOXES), BOXES)
    ours = stacked_angles(np.stack(rotations))
    difference = (ours - by_package[:, [1, 0, 2]] + 180) % 360 - 180
    assert np.abs(difference).max() < 0.1
    assert np.ptp(by_package, axis=0).max() > 2, "the answers have to depend on the picture"


def test_rotations_are_rotations(network: SixDRepNet, portrait: np.ndarray) -> None:
    (rotation,) = network.rotations([portrait], BOXES[:1])
    assert rotation is not None
    assert rotation.dtype == np.float32
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-5)
    assert np.linalg.det(rotation) == pytest.approx(1, abs=1e-5)


def test_a_batch_gives_the_same_and_a_box_outside_none(
    network: SixDRepNet, portrait: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = (*BOXES[:2], (900.0, 900.0, 950.0, 950.0), *BOXES[2:])
    one_by_one = network.rotations([portrait] * 5, boxes)
    monkeypatch.setattr("model.face_engine.head_pose.sixdrepnet.crop_batch", lambda: 3)
    batched = network.rotations([portrait] * 5, boxes)
    assert [rotation is None for rotation in batched] == [False, False, True, False, False]
    for a, b in zip(one_by_one, batched, strict=True):
        if a is not None:
            np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.parametrize("size", [(300, 400), (401, 299), (224, 224), (50, 60), (97, 640)])
def test_a_crop_is_prepared_as_by_torchvision(size: tuple[int, int]) -> None:
    from torchvision import transforms

    crop = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    steps = [transforms.Resize(224), transforms.CenterCrop(224), transforms.ToTensor()]
    steps.append(transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]))
    expected = transforms.Compose(steps)(PilImage.fromarray(crop)).numpy()
    np.testing.assert_allclose(network_input(crop), expected, atol=1e-5)


def test_the_export_lies_beside_its_weights_under_their_digest(store_6drepnet: ModelStore) -> None:
    weights, exported = store_6drepnet.record("6drepnet").files
    assert exported.name == f"{weights.sha256}.onnx"
    assert (weights.kind, exported.kind) == (None, Kind.SIXDREPNET)
    assert store_6drepnet.verify("6drepnet") == []


def test_weights_of_something_else_are_not_added(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    path.write_bytes(b"no weights")
    store = ModelStore(tmp_path / "models")
    with pytest.raises(ExportFailed, match="6DRepNet was not exported: .* does not hold 6DRepNet's weights"):
        install(store, "6drepnet", [path])
    assert not store.folder("6drepnet").exists()


class _TakesAnyCrop(torch.nn.Module):
    """In 6DRepNet's place where its 39 million weights do not matter."""

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        return crops.mean(dim=(2, 3))[:, :, None].expand(-1, 3, 3) * torch.ones(3)


def test_an_export_that_computes_something_else_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sixdrepnet_export, "load_network", lambda weights: _TakesAnyCrop())
    assert sixdrepnet_export.export(tmp_path / "a.pth", tmp_path / "out.onnx") <= 1e-4
    monkeypatch.setattr(sixdrepnet_export, "MAX_DIFFERENCE", -1.0)
    with pytest.raises(ExportFailed, match="the exported network differs from torch by"):
        sixdrepnet_export.export(tmp_path / "a.pth", tmp_path / "other.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["out.onnx"]


def test_the_export_is_judged_on_noise_and_on_a_portrait() -> None:
    crops = sixdrepnet_export.example_crops()
    assert crops.shape == (4, 3, 224, 224)
    assert np.abs(np.diff(crops, axis=-1)).mean(axis=(1, 2, 3)).tolist() == pytest.approx([1.13, 1.13, 0.1, 0.1], abs=0.15)


def test_the_export_is_checked_in_float32_whatever_was_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[dict[str, str]] = []

    def run(command: list[str], *, env: dict[str, str], **_: object) -> subprocess.CompletedProcess[str]:
        seen.append(env)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setenv("LAFID_ONNX_PROVIDER", "openvino-bf16")
    monkeypatch.setattr(sixdrepnet_export.subprocess, "run", run)
    export_in_child(tmp_path / "a.pth", tmp_path / "a.onnx")
    assert "LAFID_ONNX_PROVIDER" not in seen[0]
    assert seen[0]["PATH"] == os.environ["PATH"]
