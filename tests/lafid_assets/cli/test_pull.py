"""`lafid pull` of a checkpoint's folder: no registry is asked, and what cannot be pulled is told in a line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from model.bases.base import load_base
from model.bases.build import build_tiny_base
from model.encoding.face_features import FaceFeatures
from model.face_branch.trainable import assemble
from model.presets import preset
from model.release.checkpoint import EmbeddingSource, write_checkpoint
from tests.model.manifests import a_manifest
from tests.once import built_once

Lafid = Callable[..., Any]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """On dlib's embeddings, as the demo trains it."""

    def build(folder: Path) -> None:
        build_tiny_base(folder / "base")
        tiny = preset("tiny")
        features = FaceFeatures(torch.zeros(1, 128), torch.zeros(1, 65, 64), torch.zeros(1, 256, 48))
        model = assemble(load_base(folder / "base", "cpu"), features, tiny.fusion, tiny.train)
        source = EmbeddingSource(name="dlib", version="20", width=128)
        write_checkpoint(folder / "checkpoint", model, a_manifest(tiny, model.base.info, face_engine=source))

    return built_once(tmp_path_factory, "pulled checkpoint", build) / "checkpoint"


def test_a_checkpoints_folder_is_pulled_without_a_registry(lafid: Lafid, checkpoint: Path, tmp_path: Path) -> None:
    ended = lafid("pull", checkpoint, "--to", tmp_path / "out")
    assert ended.code == 0, ended.err
    assert "adapter, weights of tiny" in ended.out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("README.md", "adapter", "weights", "code", "lafid.json", "load_face_branch.py", "requirements.txt")
    }
    requirements = (tmp_path / "out" / "requirements.txt").read_text()
    assert "dlib-bin==" in requirements
    assert "insightface" not in requirements
    assert "is there already: name a folder that is not" in lafid("pull", checkpoint, "--to", tmp_path / "out").error
    assert lafid("pull", tmp_path / "out", "--to", tmp_path / "again").code == 0, "what was pulled is a checkpoint"


def test_what_is_no_model_is_told(lafid: Lafid, tmp_path: Path) -> None:
    assert "is no model: name one of the registry" in lafid("pull", tmp_path / "nothing", "--to", tmp_path / "out").error
    assert "there is no registry at" in lafid("pull", "models:/lafid@champion", "--to", tmp_path / "out").error
    assert not (tmp_path / "out").exists()
