"""A checkpoint's folder proves that it is whole, and that fresh processes draw the same from it."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lafid_assets.release import proofs
from lafid_assets.release.proofs import CannotDraw, Redrawing, broken_weights, frames_of_fresh_processes, frames_sha256
from model.bases.base import load_base
from model.bases.build import build_tiny_base
from model.clip_size import ClipSize
from model.encoding.encoders import ClipEncoders
from model.encoding.face_features import FaceFeatures
from model.face_branch.trainable import assemble
from model.files import sha256_folder
from model.presets import preset
from model.release.checkpoint import EmbeddingSource, write_checkpoint
from model.release.drawing_settings import AS_TRAINED
from tests.model.conftest import hear
from tests.model.manifests import a_manifest
from tests.once import built_once


def _save(folder: Path, name: str, tensor: torch.Tensor) -> None:
    path = folder / "adapter" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"whole": torch.zeros(2), "looked_at": tensor}, path)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float8_e4m3fn], ids=str)
def test_one_number_that_is_not_finite_is_found(tmp_path: Path, dtype: torch.dtype) -> None:
    _save(tmp_path, "a.safetensors", torch.ones(3))
    _save(tmp_path, "b.safetensors", torch.ones(3).to(dtype))
    assert broken_weights(tmp_path, sha256_folder(tmp_path)) is None
    _save(tmp_path, "b.safetensors", torch.tensor([1.0, float("nan"), 1.0]).to(dtype))
    assert broken_weights(tmp_path, sha256_folder(tmp_path)) == "tensor looked_at of adapter/b.safetensors is not finite"


def test_infinite_numbers_torn_files_other_files_and_none_are_found(tmp_path: Path) -> None:
    assert "holds no safetensors file" in str(broken_weights(tmp_path, "x"))
    _save(tmp_path, "a.safetensors", torch.tensor([float("inf")]))
    assert "is not finite" in str(broken_weights(tmp_path, sha256_folder(tmp_path)))
    _save(tmp_path, "a.safetensors", torch.tensor([1, 2]))
    trained = sha256_folder(tmp_path)
    assert broken_weights(tmp_path, trained) is None
    (tmp_path / "note").write_text("another file")
    assert "is not what was trained" in str(broken_weights(tmp_path, trained))
    path = tmp_path / "adapter" / "a.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert "adapter/a.safetensors cannot be read" in str(broken_weights(tmp_path, trained))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base, and two checkpoints on it of an engine that this machine does not have; the second says nothing yet."""

    def build(folder: Path) -> None:
        build_tiny_base(folder / "base")
        tiny = preset("tiny")
        tiny = tiny.model_copy(update={"clip": ClipSize(frames=2, height=16, width=16)})
        features = FaceFeatures(torch.zeros(1, 16), torch.zeros(1, 65, 64), torch.zeros(1, 256, 48))
        for name in ("heard", "silent"):
            base = load_base(folder / "base", "cpu")
            model = assemble(base, features, tiny.fusion, tiny.train)
            if name == "heard":
                hear(model.fusion)
            engine = EmbeddingSource(name="elsewhere", version="1", width=16)
            facts = {"face_engine": engine, "encoders_fingerprint": ClipEncoders(base).fingerprint}
            write_checkpoint(folder / name, model, a_manifest(tiny, base.info, **facts))

    return built_once(tmp_path_factory, "checkpoints to be drawn again", build)


@pytest.mark.long
def test_fresh_processes_draw_the_same(trained: Path) -> None:
    """Two processes that load torch, each of which takes seconds. The demo's model is champion, so they do so in every test run,
    too."""
    first, second = frames_of_fresh_processes(Redrawing(trained / "heard", trained / "base", AS_TRAINED), 300)
    assert len(first) == 64
    assert first == second


def test_what_is_drawn_depends_on_the_weights(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda *_, **__: None)  # would hold for the tests after this one
    drawn = [frames_sha256(Redrawing(trained / name, trained / "base", AS_TRAINED)) for name in ("heard", "heard", "silent")]
    assert drawn[0] == drawn[1] != drawn[2]


def test_processes_that_draw_differently_are_told_apart(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lafid_assets.workers.pool import Crashed, Done

    task = Redrawing(trained, trained, AS_TRAINED)
    monkeypatch.setattr(proofs, "map_isolated", lambda *_, **__: iter([(0, Done("a")), (1, Done("b"))]))
    assert frames_of_fresh_processes(task, 1) == ["a", "b"]
    monkeypatch.setattr(proofs, "map_isolated", lambda *_, **__: iter([(0, Done("a")), (1, Crashed(-9))]))
    with pytest.raises(CannotDraw, match="died with exit code -9"):
        frames_of_fresh_processes(task, 1)
