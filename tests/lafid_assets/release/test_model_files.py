"""Where a model's files lie, by a real MLflow; and whom a checkpoint is compared with."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from lafid_assets.release.champion import Rival, rival_of
from lafid_assets.release.model_files import ModelFiles, ModelMissing, find_model
from model.files import sha256_folder
from resources.tracking import CHECKPOINT_TAG, DATASET_TAG, RegisteredVersion, Tracking
from tests.model.manifests import checkpoint_without_parts

ARTIFACTS = """flavors:
  python_function:
    loader_module: none
    artifacts:
      checkpoint: {path: artifacts/checkpoint, uri: x}
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    """Version 1 travels with its base, version 2 without; version 3 is none of LaFID's. Making a registry costs seconds."""
    root = tmp_path_factory.mktemp("registry")
    tracking = Tracking(f"sqlite:///{root}/mlflow.db", root / "artifacts")
    (root / "artifacts").mkdir()
    (root / "mlflow.db").touch()
    client = tracking.open_experiment()
    import mlflow

    for number in (1, 2, 3):
        package = root / f"package {number}"
        checkpoint = checkpoint_without_parts(package / "artifacts" / "checkpoint", seed=number)
        base = "      base: {path: artifacts/base, uri: x}\n" if number == 1 else ""
        if base:
            (package / "artifacts" / "base").mkdir()
            (package / "artifacts" / "base" / "weights").write_text("base")
        (package / "MLmodel").write_text(ARTIFACTS + base if number < 3 else "flavors: {sklearn: {}}\n")
        logged = mlflow.initialize_logged_model(name="tiny")
        client.log_model_artifacts(logged.model_id, str(package))
        mlflow.finalize_logged_model(logged.model_id, "READY")
        tags = {CHECKPOINT_TAG: sha256_folder(checkpoint)} if number < 3 else {}
        mlflow.register_model(f"models:/{logged.model_id}", "lafid", tags=tags)
    return tracking


def test_a_checkpoints_folder_and_its_base(tmp_path: Path) -> None:
    checkpoint = checkpoint_without_parts(tmp_path / "run")
    nowhere = Tracking(f"sqlite:///{tmp_path}/none.db", tmp_path)
    with pytest.raises(ModelMissing, match=r"needs its base .*tiny.*: adopt it \(`lafid adopt`\), or name its folder"):
        find_model(str(checkpoint), nowhere, tmp_path)
    (tmp_path / "bases" / "tiny").mkdir(parents=True)
    found = find_model(str(checkpoint), nowhere, tmp_path, adopted=(tmp_path / "bases").joinpath)
    assert found == ModelFiles(str(checkpoint), sha256_folder(checkpoint), checkpoint, tmp_path / "bases" / "tiny")
    named = find_model(str(checkpoint), nowhere, tmp_path, base_dir=tmp_path / "run", adopted=(tmp_path / "bases").joinpath)
    assert named.base_dir == tmp_path / "run"
    with pytest.raises(ModelMissing, match="elsewhere is no model: name one of the registry"):
        find_model("elsewhere", nowhere, tmp_path)
    with pytest.raises(ModelMissing, match="there is no registry at sqlite:.*MLFLOW_TRACKING_URI"):
        find_model("models:/lafid/1", nowhere, tmp_path)


def test_a_registered_model(registry: Tracking, tmp_path: Path) -> None:
    found = find_model("models:/lafid/1", registry, tmp_path / "downloads")
    assert (found.base_dir / "weights").read_text() == "base"
    assert registry.find_version("lafid", found.checkpoint_sha256) == RegisteredVersion("lafid", "1")
    assert not (tmp_path / "downloads").exists(), "it lies on this disk"
    with pytest.raises(ModelMissing, match=r"models:/lafid/2 needs its base"):
        find_model("models:/lafid/2", registry, tmp_path)
    with pytest.raises(ModelMissing, match="models:/lafid/3 is no LaFID model: it holds no artifacts"):
        find_model("models:/lafid/3", registry, tmp_path)
    with pytest.raises(ModelMissing, match="there is no models:/lafid/9 at sqlite:"):
        find_model("models:/lafid/9", registry, tmp_path)
    with pytest.raises(ModelMissing, match="models:/lafid/latest names no model of a registry: say models:/lafid@champion"):
        find_model("models:/lafid/latest", registry, tmp_path)


def test_what_was_pulled_is_the_same_checkpoint_with_its_base(tmp_path: Path) -> None:
    checkpoint = checkpoint_without_parts(tmp_path / "run")
    nowhere = Tracking(f"sqlite:///{tmp_path}/none.db", tmp_path)
    shutil.copytree(checkpoint, tmp_path / "pulled")
    (tmp_path / "pulled" / "base").mkdir()
    for name in ("base/base.json", "README.md", "load_face_branch.py"):
        (tmp_path / "pulled" / name).touch()
    found = find_model(str(tmp_path / "pulled"), nowhere, tmp_path)
    assert (found.checkpoint_sha256, found.base_dir) == (sha256_folder(checkpoint), tmp_path / "pulled" / "base")


def test_an_entry_that_names_files_elsewhere_is_refused(registry: Tracking, tmp_path: Path) -> None:
    source = registry.connect().get_model_version("lafid", "1").source
    [package] = [path.parent for path in registry.artifacts.rglob("MLmodel") if source.removeprefix("models:/") in str(path)]
    told = (package / "MLmodel").read_text()
    try:
        (package / "MLmodel").write_text(told.replace("path: artifacts/checkpoint", f"path: {tmp_path}/elsewhere"))
        checkpoint_without_parts(tmp_path / "elsewhere")
        with pytest.raises(ModelMissing, match="models:/lafid/1 is no LaFID model: .*lies outside of"):
            find_model("models:/lafid/1", registry, tmp_path)
    finally:
        (package / "MLmodel").write_text(told)


def test_what_a_server_keeps_is_fetched_once(registry: Tracking, tmp_path: Path) -> None:
    client = registry.connect()
    client.set_registered_model_alias("lafid", "team", "1")
    server = SimpleNamespace(uri="http://team", is_there=True, is_local=False, connect=registry.connect)
    found = find_model("models:/lafid@team", server, tmp_path / "downloads")  # type: ignore[arg-type]
    [folder] = (tmp_path / "downloads").iterdir()
    assert found.checkpoint_dir.is_relative_to(folder)
    (folder / "mark").touch()
    again = find_model("models:/lafid/1", server, tmp_path / "downloads")  # type: ignore[arg-type]
    assert (again.checkpoint_dir, (folder / "mark").is_file()) == (found.checkpoint_dir, True)


def test_whom_a_checkpoint_is_compared_with(registry: Tracking, tmp_path: Path) -> None:
    """The champion; where it is that itself the one before; nobody where there is none, or none of LaFID's."""
    client = registry.connect()
    one, two = (client.get_model_version("lafid", str(number)).tags[CHECKPOINT_TAG] for number in (1, 2))
    assert rival_of(one, "lafid", registry) is None
    assert rival_of(one, "another", registry) is None
    client.set_registered_model_alias("lafid", "champion", "1")
    assert rival_of("new", "lafid", registry) == Rival(RegisteredVersion("lafid", "1"), "champion", one)
    assert rival_of(one, "lafid", registry) is None
    client.set_registered_model_alias("lafid", "previous", "1")
    client.set_registered_model_alias("lafid", "champion", "2")
    assert rival_of(two, "lafid", registry) == Rival(RegisteredVersion("lafid", "1"), "previous", one)
    client.set_registered_model_alias("lafid", "champion", "3")
    client.delete_registered_model_alias("lafid", "previous")
    assert rival_of("new", "lafid", registry) is None
    assert rival_of("new", "lafid", Tracking(f"sqlite:///{tmp_path}/none.db", tmp_path)) is None
    assert not (tmp_path / "none.db").exists(), "asking makes no registry"


def test_a_version_registered_by_hand_is_known_by_its_logged_model(registry: Tracking) -> None:
    """MLflow's UI registers what a training logged, and gives the version no tags."""
    import mlflow

    client = registry.connect()
    logged = mlflow.initialize_logged_model(name="tiny", tags={CHECKPOINT_TAG: "by hand", DATASET_TAG: "v1"})
    mlflow.finalize_logged_model(logged.model_id, "READY")
    version = mlflow.register_model(f"models:/{logged.model_id}", "hands")
    assert client.get_model_version("hands", version.version).tags == {}
    assert registry.tags_of(version)[DATASET_TAG] == "v1"
    assert registry.find_version("hands", "by hand") == RegisteredVersion("hands", "1")
    client.set_registered_model_alias("hands", "champion", "1")
    assert rival_of("new", "hands", registry) == Rival(RegisteredVersion("hands", "1"), "champion", "by hand")
    client.set_model_version_tag("hands", "1", CHECKPOINT_TAG, "its own")
    assert registry.tags_of(client.get_model_version("hands", "1")) == {CHECKPOINT_TAG: "its own"}
