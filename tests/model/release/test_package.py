"""The registry: logged, registered, promoted, pulled back and served in fresh processes, with nothing pickled on the way."""

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import pytest
from PIL import Image

from model.bases.base import load_base, read_base_info
from model.encoding.encoders import ClipEncoders
from model.encoding.head_mask import MaskInfo
from model.face_branch.trainable import assemble
from model.presets import preset
from model.release import package
from model.release.checkpoint import EmbeddingSource, read_manifest, write_checkpoint
from model.release.package import PackageError, fetch, log_checkpoint, pinned_requirements, pull
from model.release.pipeline import load
from model.release.pulled_folder import write_pulled_folder
from tests.model.manifests import a_manifest
from tests.model.release.mlflow_server import TIMEOUT_S, Server, answers, served

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


@dataclass(frozen=True)
class Registered:
    root: Path
    address: str
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
        update={"clip": ClipSize(frames=2, height=16, width=16), "train": tiny.train.model_copy(update={"trainable": "adapter"})}
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
    address = log_checkpoint(
        root / "checkpoint", base_dir, name="tiny-12", tags={"git_commit": "abc"}, metrics={"flow_loss": 1.0}
    )
    version = str(mlflow.register_model(address, "lafid", tags={"gate": "passed"}).version)
    mlflow.MlflowClient().set_registered_model_alias("lafid", "champion", version)
    yield Registered(root, address, version, root / "photo.png", hashlib.sha256(drawn.tobytes()).hexdigest())
    mlflow.set_tracking_uri(before)


@pytest.fixture(scope="module")
def environment(registered: Registered) -> dict[str, str]:
    """Of fresh processes: the registry is known, and nothing is unpickled."""
    return {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"sqlite:///{registered.root}/mlflow.db",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "OMP_NUM_THREADS": "1",
    }


@pytest.mark.long
def test_pulled_by_alias_in_a_fresh_process_it_draws_the_same_frames(registered: Registered, environment: dict[str, str]) -> None:
    command = [sys.executable, "-c", _PULL, str(registered.photo)]
    environment = environment | {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, cwd=registered.root, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == registered.frames_sha256


SLOW = pytest.mark.timeout(1200)
"""Whichever is first waits until the server has imported everything."""


@pytest.fixture(scope="module")
def server(registered: Registered, environment: dict[str, str]) -> Iterator[Server]:
    with served(registered.root, registered.photo, environment) as found:
        yield found


@SLOW
def test_served_by_mlflow_it_draws_the_same_frames_and_four_at_once_are_each_as_alone(
    registered: Registered, server: Server
) -> None:
    assert server.digest() == registered.frames_sha256
    other = server.digest(seed=5)
    assert other != registered.frames_sha256
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda seed: server.digest(seed=seed), (0, 5, 0, 5)))
    assert found == [registered.frames_sha256, other] * 2


@SLOW
def test_served_by_mlflow_one_that_takes_too_long_ends_and_the_next_is_drawn(registered: Registered, server: Server) -> None:
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(server.post, {"inputs": [server.request | {"steps": 1000, "frames": 9, "height": 64, "width": 64}]})
        assert answers(f"{server.address}/ping"), "it is healthy while it draws"
        assert not slow.done()
        server.quickly.touch()
        status, text = slow.result()
    server.quickly.unlink()
    assert status == 504
    assert json.loads(text)["message"].startswith(f"the video took longer than {TIMEOUT_S} s")
    assert server.digest() == registered.frames_sha256


@SLOW
def test_what_mlflows_server_tells_of_a_bad_request_repeats_nothing_of_it(registered: Registered, server: Server) -> None:
    image = server.request["image"]
    wrong: dict[str, dict[str, object]] = {
        "guidance: Input should be a finite number": {"guidance": float("nan")},
        "steps: ": {"steps": 0},
        "seed: ": {"seed": 2**64},
        "prompt: ": {"prompt": "x" * 10**6},
        "num_frames: Extra": {"num_frames": 3},
        "image is no base64": {"image": "%%%"},
        "photo 0: cannot read": {"photos": [base64.b64encode(b"no picture").decode()]},
        "15 x 64": {"height": 15, "width": 64},
        "no face found": {"image": base64.b64encode(_png(Image.new("RGB", (64, 64)))).decode()},
    }
    for words, fields in wrong.items():
        status, text = server.post({"inputs": [server.request | fields]})
        told = json.loads(text)
        assert status == 400, text[:500]
        assert words in told["message"]
        assert len(text) < 500
        assert image[:30] not in text
        assert "Traceback" not in text
        assert str(registered.root) not in text


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def test_nothing_pickled_is_stored(registered: Registered) -> None:
    suffixes = {path.suffix for path in (registered.root / "artifacts").rglob("*") if path.is_file()}
    assert not suffixes & {".pkl", ".pickle", ".pt", ".pth", ".bin"}
    assert ".safetensors" in suffixes


def test_the_checkpoint_and_its_base_lie_in_it_once(registered: Registered, base_dir: Path) -> None:
    folder = Path(mlflow.artifacts.download_artifacts(registered.address))
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
    address = log_checkpoint(
        tmp_path / "checkpoint", tmp_path / "no-base", name="step-12", tags={}, metrics={"validation_loss": 1.0}, run_id=run
    )
    folder = Path(mlflow.artifacts.download_artifacts(address))
    assert not list(folder.rglob("base.json"))
    model = mlflow.get_logged_model(address.removeprefix("models:/"))
    assert (model.source_run_id, model.tags["base_repository"]) == (run, "Wan-AI/Wan@r1")
    assert client.get_run(run).info.status == "RUNNING"
    assert mlflow.active_run() is None


def test_what_the_checkpoint_knows_is_tagged(registered: Registered) -> None:
    model = mlflow.get_logged_model(registered.address.removeprefix("models:/"))
    assert model.tags["dataset_version"] == "dataset-7"
    assert model.tags["git_commit"] == "abc"
    assert model.params["train.steps"] == str(preset("tiny").train.steps)
    told = mlflow.get_run(model.source_run_id).data.params
    assert (told["train.precision"], told["precision"]) == ("float32", ""), "of training, and of drawing, which nobody decided"
    (metric,) = model.metrics
    assert (metric.key, metric.value, metric.step) == ("flow_loss", 1.0, 12)
    champion = mlflow.MlflowClient().get_model_version_by_alias("lafid", "champion")
    assert str(champion.version) == registered.version
    assert champion.tags["gate"] == "passed"


def test_the_signature_comes_from_the_types_and_requirements_are_pinned(registered: Registered) -> None:
    folder = Path(mlflow.artifacts.download_artifacts(registered.address))
    inputs = json.dumps(mlflow.models.Model.load(str(folder)).signature.to_dict())
    assert all(name in inputs for name in ("image", "prompt", "frames_sha256"))
    requirements = (folder / "requirements.txt").read_text().split()
    assert all(line.count("==") == 1 and "+" not in line for line in requirements)
    assert any(line.startswith("diffusers==") for line in requirements)


@pytest.mark.parametrize(
    ("engine", "mask", "has", "lacks"),
    [
        ("dlib", "oval", {"dlib-bin", "face-recognition-models"}, {"insightface", "opencv-python-headless", "onnxruntime"}),
        ("dlib", "modnet", {"dlib-bin", "onnxruntime"}, {"insightface", "opencv-python-headless"}),
        ("insightface/buffalo_l", "oval", {"insightface", "opencv-python-headless", "onnxruntime"}, {"dlib-bin"}),
    ],
)
def test_requirements_are_those_of_what_it_was_trained_with(
    engine: str, mask: str, has: set[str], lacks: set[str], base_dir: Path
) -> None:
    source = EmbeddingSource(name=engine, version="1", width=128)
    manifest = a_manifest(preset("tiny"), read_base_info(base_dir), face_engine=source, head_mask=MaskInfo(name=mask))
    names = {line.split("==")[0].replace("-gpu", "") for line in pinned_requirements(manifest)}
    assert names >= has | {"torch", "diffusers", "transformers", "mlflow"}
    assert not names & lacks


def test_an_entry_that_names_files_elsewhere_is_refused(registered: Registered, tmp_path: Path, monkeypatch: Any) -> None:
    folder = Path(mlflow.artifacts.download_artifacts(registered.address))
    for number, (fault, message) in enumerate(
        {"path: ../../../../etc": "lies outside of", "path: artifacts/linked": "link or no plain file"}.items()
    ):
        copy = tmp_path / str(number)
        shutil.copytree(folder, copy)
        (copy / "artifacts" / "linked").mkdir(parents=True, exist_ok=True)
        (copy / "artifacts" / "linked" / "lafid.json").symlink_to("/etc/hostname")
        told = (copy / "MLmodel").read_text()
        assert "path: artifacts/checkpoint" in told
        (copy / "MLmodel").write_text(told.replace("path: artifacts/checkpoint", fault))
        monkeypatch.setattr(mlflow.artifacts, "download_artifacts", lambda _uri, copy=copy: str(copy))
        with pytest.raises(PackageError, match=message):
            pull(registered.address)


def test_what_the_registry_tells_of_a_model_comes_along(registered: Registered) -> None:
    found = fetch("models:/lafid@champion")
    assert found.tags["gate"] == "passed"
    assert found.tags["git_commit"] == "abc"
    assert found.metrics == {"flow_loss": 1.0}
    assert fetch(f"models:/lafid/{registered.version}").tags == found.tags
    assert fetch(registered.address).metrics == found.metrics
    assert fetch(str(registered.root / "checkpoint")).tags == {}


def test_a_base_without_an_address_is_pulled_along(registered: Registered, tmp_path: Path) -> None:
    found = fetch("models:/lafid@champion")
    write_pulled_folder(found.checkpoint_dir, tmp_path / "out", [], found.tags, found.metrics, found.base_dir)
    again = fetch(str(tmp_path / "out"))
    assert again.base_dir == tmp_path / "out" / "base"
    assert load_base(again.base_dir, "cpu").info == read_manifest(tmp_path / "out").base


def test_a_model_that_is_not_ours_is_refused(registered: Registered, tmp_path: Path) -> None:
    (tmp_path / "foreign.py").write_text(
        "import mlflow\nclass F(mlflow.pyfunc.PythonModel):\n    def predict(self, model_input: list[str]) -> list[str]:\n"
        "        return model_input\nmlflow.models.set_model(F())\n"
    )
    code = str(tmp_path / "foreign.py")
    for artifacts, held in ((None, "no artifacts"), ({"lookup": code}, "lookup")):
        with mlflow.start_run():
            info = mlflow.pyfunc.log_model(name="foreign", python_model=code, artifacts=artifacts, pip_requirements=[])
        with pytest.raises(PackageError, match=f"no LaFID model: it holds {held}$"):
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
    registry.models.Model.load = lambda _folder: SimpleNamespace(flavors=flavors, model_id=None)
    registry.MlflowClient = lambda: SimpleNamespace(
        get_model_version_by_alias=lambda *_: SimpleNamespace(source="models:/m-1", tags={})
    )
    monkeypatch.setattr(package, "_mlflow", lambda: registry)
    monkeypatch.setattr(package, "load", lambda _checkpoint, chosen, *_: chosen)
    for given in ({}, {"adopted": bases.joinpath}):
        with pytest.raises(PackageError, match=r"needs its base tiny \(Org/Base@0+\).*`lafid adopt`.*`--base`"):
            pull("models:/lafid@champion", **given)
    (bases / "tiny").mkdir(parents=True)
    assert pull("models:/lafid@champion", adopted=bases.joinpath) == bases / "tiny"
    assert pull("models:/lafid@champion", adopted=bases.joinpath, base_dir=tmp_path) == tmp_path
