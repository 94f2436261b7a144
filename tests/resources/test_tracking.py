"""The registry's questions are tested where they are asked (`release.test_registered_model`); here what needs no registry."""

from pathlib import Path

from resources.tracking import RegisteredVersion, Tracking


def test_version_is_pulled_by_its_number() -> None:
    assert RegisteredVersion("lafid", "3").uri == "models:/lafid/3"


def test_local_registry_is_there_once_its_file_is(tmp_path: Path) -> None:
    local = Tracking(f"sqlite:///{tmp_path}/mlflow.db", tmp_path)
    assert not local.is_there
    (tmp_path / "mlflow.db").touch()
    assert local.is_there
    assert Tracking("http://team:5000", tmp_path).is_there
