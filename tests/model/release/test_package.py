"""The registry: logged, registered, promoted, pulled back and served in fresh processes, with nothing pickled on the way."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import mlflow
import pytest
from PIL import Image

from model.bases.base import read_base_info
from model.encoding.encoders import ClipEncoders
from model.face_branch.trainable import assemble
from model.presets import preset
from model.release import package
from model.release.checkpoint import EmbeddingSource, read_manifest, write_checkpoint
from model.release.package import LoggedCheckpoint, PackageError, log_checkpoint, pull, register
from model.release.pipeline import load
from tests.model.manifests import a_manifest

PROJECT = Path(__file__).parents[3]

_PULL = """
import hashlib, sys
import torch
from PIL import Image
from model.release.package import pull
torch.set_num_threads(1)
frames = pull("models:/lafid@champion").generate(Image.open(sys.argv[1]), "a smile", steps=1, choose="largest")
print(hashlib.sha256(frames.tobytes()).hexdigest())
"""

_SERVE = """
import sys
import mlflow
import torch
torch.set_num_threads(1)
served = mlflow.pyfunc.load_model("models:/lafid@champion")
try:
    served.predict([{"image": "abcde", "prompt": "a smile"}])
except Exception as error:
    assert "a picture of the request is no base64" in str(error), error
else:
    raise SystemExit("drawn from no base64")
(answer,) = served.predict([{"image": open(sys.argv[1]).read(), "prompt": "a smile", "steps": 1}])
import model.release.pipeline
coarse = mlflow.pyfunc.load_model("models:/lafid@champion", model_config={"precision": "bfloat16", "device": "cpu"})
dtype = coarse.unwrap_python_model().pipeline.model.base.transformer.dtype
print(answer.frames_sha256, answer.frames, dtype, model.release.pipeline.__file__)
open(sys.argv[2], "w").write(answer.video)
"""


@dataclass(frozen=True)
class Registered:
    root: Path
    logged: LoggedCheckpoint
    version: str
    photo: Path
    frames_sha256: str
    """Of what the checkpoint draws before it is logged."""


@pytest.fixture(scope="module")
def registered(base_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registered]:
    """An untrained checkpoint on dlib's embeddings in a sqlite registry, as `lafid@champion`."""
    import torch

    from model.bases.base import load_base
    from model.clip_size import ClipSize
    from model.encoding.face_features import FaceFeatures
    from model.presets import preset

    root = tmp_path_factory.mktemp("registry")
    photograph = Image.fromarray(pytest.importorskip("skimage.data", reason="needs a photograph of a face").astronaut())
    photograph.crop((100, 0, 356, 256)).save(root / "photo.png")
    tiny = preset("tiny")
    tiny = tiny.model_copy(
        update={
            "clip": ClipSize(frames=2, height=16, width=16),
            "train": tiny.train.model_copy(update={"trainable": "adapter"}),
        }
    )
    features = FaceFeatures(torch.zeros(1, 128), torch.zeros(1, 65, 64), torch.zeros(1, 256, 48))
    model = assemble(load_base(base_dir, "cpu"), features, tiny.fusion, tiny.train)
    manifest = a_manifest(
        tiny,
        model.base.info,
        face_engine=EmbeddingSource(name="dlib", version="20", width=128),
        encoders_fingerprint=ClipEncoders(model.base).fingerprint,
        dataset_version="dataset-7",
        step=12,
    )
    write_checkpoint(root / "checkpoint", model, manifest)
    drawn = load(root / "checkpoint", base_dir).generate(Image.open(root / "photo.png"), "a smile", steps=1, choose="largest")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{root}/mlflow.db")
    mlflow.create_experiment("lafid", artifact_location=(root / "artifacts").as_uri())
    mlflow.set_experiment("lafid")
    logged = log_checkpoint(root / "checkpoint", base_dir, name="tiny-12", tags={"git_commit": "abc"}, metrics={"flow_loss": 1.0})
    version = register(logged.model_uri, "lafid", {"gate": "passed"})
    mlflow.MlflowClient().set_registered_model_alias("lafid", "champion", version)
    yield Registered(root, logged, version, root / "photo.png", hashlib.sha256(drawn.tobytes()).hexdigest())
    mlflow.set_tracking_uri(before)


@pytest.fixture(scope="module")
def fresh(registered: Registered) -> dict[str, subprocess.Popen[str]]:
    """Two fresh processes side by side, without unpickling: `pull` has this project to import, `serve` has not."""
    request = registered.root / "photo.b64"
    request.write_text(base64.b64encode(registered.photo.read_bytes()).decode())
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"sqlite:///{registered.root}/mlflow.db",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }

    def start(code: str, *arguments: Path, importable: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=registered.root,
            env={**environment, "PYTHONPATH": importable},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return {
        "pull": start(_PULL, registered.photo, importable=str(PROJECT)),
        "serve": start(_SERVE, request, registered.root / "video.b64", importable=""),
    }


def last_line(process: subprocess.Popen[str]) -> str:
    said, complained = process.communicate()
    assert process.returncode == 0, complained
    return said.strip().splitlines()[-1]


@pytest.mark.long
def test_pulled_by_alias_in_a_fresh_process_it_draws_the_same_frames(registered: Registered, fresh) -> None:
    assert last_line(fresh["pull"]) == registered.frames_sha256


def test_served_by_mlflow_in_a_fresh_process_it_runs_the_code_that_travels_along(registered: Registered, fresh) -> None:
    digest, frames, configured, source = last_line(fresh["serve"]).split(maxsplit=3)  # the path may hold spaces
    assert digest == registered.frames_sha256
    assert (frames, configured) == ("2", "torch.bfloat16")
    assert Path(source).is_relative_to(registered.root / "artifacts")
    assert b"ftyp" in base64.b64decode((registered.root / "video.b64").read_text())[:16]


def test_nothing_pickled_is_stored(registered: Registered) -> None:
    suffixes = {path.suffix for path in (registered.root / "artifacts").rglob("*") if path.is_file()}
    assert not suffixes & {".pkl", ".pickle", ".pt", ".pth", ".bin"}
    assert ".safetensors" in suffixes


def test_the_checkpoint_and_its_base_lie_in_it_once(registered: Registered, base_dir: Path) -> None:
    folder = Path(mlflow.artifacts.download_artifacts(registered.logged.model_uri))
    assert sum(1 for _ in folder.rglob("lafid.json")) == 1
    (base,) = folder.rglob("base.json")
    assert base.read_text() == (base_dir / "base.json").read_text()


def test_a_base_with_an_address_does_not_travel_and_the_run_that_trained_goes_on(registered: Registered, tmp_path: Path) -> None:
    shutil.copytree(registered.root / "checkpoint", tmp_path / "checkpoint")
    manifest = read_manifest(registered.root / "checkpoint")
    public = manifest.base.model_copy(update={"repository": "Wan-AI/Wan", "revision": "r1"})
    (tmp_path / "checkpoint" / "lafid.json").write_text(manifest.model_copy(update={"base": public}).model_dump_json())
    client = mlflow.MlflowClient()
    run = client.create_run(client.get_experiment_by_name("lafid").experiment_id).info.run_id
    logged = log_checkpoint(
        tmp_path / "checkpoint", tmp_path / "no-base", name="step-12", tags={}, metrics={"validation_loss": 1.0}, run_id=run
    )
    folder = Path(mlflow.artifacts.download_artifacts(logged.model_uri))
    assert not list(folder.rglob("base.json"))
    model = mlflow.get_logged_model(logged.model_id)
    assert (model.source_run_id, model.tags["base_repository"]) == (run, "Wan-AI/Wan@r1")
    assert client.get_run(run).info.status == "RUNNING"
    assert mlflow.active_run() is None


def test_what_the_checkpoint_knows_is_tagged(registered: Registered) -> None:
    model = mlflow.get_logged_model(registered.logged.model_id)
    assert model.tags["dataset_version"] == "dataset-7"
    assert model.tags["git_commit"] == "abc"
    assert model.params["steps"] == str(preset("tiny").train.steps)
    (metric,) = model.metrics
    assert (metric.key, metric.value, metric.step) == ("flow_loss", 1.0, 12)
    champion = mlflow.MlflowClient().get_model_version_by_alias("lafid", "champion")
    assert str(champion.version) == registered.version
    assert champion.tags["gate"] == "passed"


def test_the_signature_comes_from_the_types_and_requirements_are_pinned(registered: Registered) -> None:
    folder = Path(mlflow.artifacts.download_artifacts(registered.logged.model_uri))
    inputs = json.dumps(mlflow.models.Model.load(str(folder)).signature.to_dict())
    assert all(name in inputs for name in ("image", "prompt", "frames_sha256"))
    requirements = (folder / "requirements.txt").read_text().split()
    assert all(line.count("==") == 1 and "+" not in line for line in requirements)
    assert any(line.startswith("diffusers==") for line in requirements)


def test_a_model_that_is_not_ours_is_refused(registered: Registered, tmp_path: Path) -> None:
    (tmp_path / "foreign.py").write_text(
        "import mlflow\nclass F(mlflow.pyfunc.PythonModel):\n    def predict(self, model_input: list[str]) -> list[str]:\n"
        "        return model_input\nmlflow.models.set_model(F())\n"
    )
    with mlflow.start_run():
        info = mlflow.pyfunc.log_model(name="foreign", python_model=str(tmp_path / "foreign.py"), pip_requirements=[])
    with pytest.raises(PackageError, match="no LaFID model"):
        pull(info.model_uri)


def test_a_base_is_the_named_one_or_the_adopted_one(base_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a model whose base does not travel along."""
    checkpoint, bases = tmp_path / "model" / "checkpoint", tmp_path / "bases"
    checkpoint.mkdir(parents=True)
    published = read_base_info(base_dir).model_copy(update={"repository": "Org/Base", "revision": "0" * 40})
    (checkpoint / "lafid.json").write_text(a_manifest(preset("tiny"), published).model_dump_json())
    flavors = {"python_function": {"artifacts": {"checkpoint": {"path": "checkpoint"}}}}
    registry = SimpleNamespace(
        artifacts=SimpleNamespace(download_artifacts=lambda _uri: str(tmp_path / "model")),
        models=SimpleNamespace(Model=SimpleNamespace(load=lambda _folder: SimpleNamespace(flavors=flavors))),
    )
    monkeypatch.setattr(package, "_mlflow", lambda: registry)
    monkeypatch.setattr(package, "load", lambda _checkpoint, chosen, *_: chosen)
    for given in ({}, {"bases_dir": bases}):
        with pytest.raises(PackageError, match=r"needs its base tiny \(Org/Base@0+\).*`lafid adopt`.*`--base`"):
            pull("models:/lafid@champion", **given)
    (bases / "tiny").mkdir(parents=True)
    assert pull("models:/lafid@champion", bases_dir=bases) == bases / "tiny"
    assert pull("models:/lafid@champion", bases_dir=bases, base_dir=tmp_path) == tmp_path
