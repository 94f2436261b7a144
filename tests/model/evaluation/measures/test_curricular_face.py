"""CurricularFace's network: of the published size, with the published names, and only with all of its weights."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from model.evaluation.measures.curricular_face import CurricularFace, CurricularVectors, WeightsUnfit, load_curricular, load_into


def test_ir_101_has_the_published_shape() -> None:
    """49 blocks; names and shapes as the published file has them (OpenS2V-Nexus, eval/utils/curricularface)."""
    with torch.device("meta"):
        network = CurricularFace()
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert len(network.body) == 3 + 13 + 30 + 3
    assert shapes["input_layer.0.weight"] == (64, 3, 3, 3)
    assert shapes["body.0.res_layer.1.weight"] == (64, 64, 3, 3)
    assert "body.0.shortcut_layer.0.weight" not in shapes  # as wide as before: taken over in steps of two
    assert shapes["body.3.shortcut_layer.0.weight"] == (128, 64, 1, 1)
    assert shapes["body.3.res_layer.3.weight"] == (128,)
    assert shapes["body.48.res_layer.4.weight"] == (512, 512, 3, 3)
    assert shapes["output_layer.3.weight"] == (512, 512 * 7 * 7)
    assert shapes["output_layer.4.running_mean"] == (512,)
    assert "output_layer.4.weight" not in shapes
    assert network.body[3].res_layer[4].stride == (2, 2)
    assert network.body[4].res_layer[4].stride == (1, 1)
    assert sum(parameter.numel() for parameter in network.parameters()) == 65_150_912


def test_vectors_are_of_unit_length_and_of_the_published_pixels(curricular: nn.Module) -> None:
    crops = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), np.uint8)
    found = CurricularVectors(curricular, "cpu")(crops)
    assert np.linalg.norm(found, axis=1) == pytest.approx(1)
    small = np.stack([cv2.resize(crop, (112, 112)) for crop in crops])
    expected = curricular(torch.from_numpy((small / 127.5 - 1).astype(np.float32)).permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-5)


def test_weights_are_taken_whole_or_refused(curricular: nn.Module, tmp_path: Path) -> None:
    path, stages = tmp_path / "weights.bin", ((4, 1), (6, 2), (6, 1), (8, 1))
    torch.save(curricular.state_dict(), path)
    with torch.device("meta"):
        network, other = CurricularFace(stages), CurricularFace(stages[:3])
    load_into(network, path, "the small one")
    pixels = torch.randn(2, 3, 112, 112)
    torch.testing.assert_close(network(pixels), curricular(pixels))
    with pytest.raises(WeightsUnfit, match="weights.bin does not hold the weights of the other one"):
        load_into(other, path, "the other one")
    path.write_bytes(b"no weights")
    with pytest.raises(WeightsUnfit, match="weights.bin does not hold the weights of CurricularFace's IR-101"):
        load_curricular(path)
