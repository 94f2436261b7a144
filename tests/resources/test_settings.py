"""The two addresses, and what happens when the home cannot be written."""

import os
from pathlib import Path

import pytest

from resources.settings import PROJECT_ROOT, DagsterYamlUnusable, HomeUnusable, PasswordInAddress, Settings


def test_defaults_lie_in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAFID_HOME")
    found = Settings.from_environment()
    assert found.home == PROJECT_ROOT / ".lafid"
    assert found.store_uri == str(PROJECT_ROOT / ".lafid" / "store")


def test_store_follows_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAFID_HOME", str(tmp_path / "h"))
    found = Settings.from_environment()
    assert (found.home, found.store_uri) == (tmp_path / "h", str(tmp_path / "h" / "store"))


def test_store_of_its_own_beats_the_one_of_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAFID_HOME", str(tmp_path))
    monkeypatch.setenv("LAFID_STORE", "s3://bucket/prefix")
    assert Settings.from_environment().store_uri == "s3://bucket/prefix"


def test_relative_home_and_tilde_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAFID_HOME", "here")
    assert Settings.from_environment().home == tmp_path / "here"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LAFID_HOME", "~/there")
    assert Settings.from_environment().home == tmp_path / "there"


def test_everything_local_lies_below_home(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (settings.published_path, settings.dagster_home, settings.mlflow_artifacts, settings.drop, settings.logs):
        assert isinstance(path, Path)
        assert path.is_relative_to(settings.home)
    assert settings.mlflow_uri == f"sqlite:///{settings.home}/mlflow/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://team:5000")
    monkeypatch.setenv("LAFID_DROP", "/drop")
    assert (settings.mlflow_uri, settings.drop) == ("http://team:5000", Path("/drop"))
    monkeypatch.setenv("LAFID_DROP", "s3://bucket/drop")
    assert settings.drop == "s3://bucket/drop"


def test_prepare_makes_the_home_and_points_dagster_there(settings: Settings) -> None:
    settings.prepare()

    assert (settings.dagster_home / "dagster.yaml").read_bytes() == (PROJECT_ROOT / "dagster.yaml").read_bytes()
    assert settings.mlflow_artifacts.is_dir()
    assert settings.logs.is_dir()
    assert os.environ["DAGSTER_HOME"] == str(settings.dagster_home)
    assert os.environ["LAFID_HOME"] == str(settings.home)
    assert not list(settings.home.glob(".writable-*"))


def test_prepare_takes_up_a_changed_dagster_yaml(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings.prepare()
    other = tmp_path / "other.yaml"
    other.write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("LAFID_DAGSTER_YAML", str(other))
    settings.prepare()
    assert (settings.dagster_home / "dagster.yaml").read_text() == other.read_text()


def test_home_that_is_a_file_is_named_with_the_remedy(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("in the way")
    with pytest.raises(HomeUnusable, match=rf"cannot write to the home {home} \(.*\): free some space, or set LAFID_HOME"):
        Settings(home=home, store_uri="x").prepare()


@pytest.mark.rights
@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere: .ci/run runs this as an ordinary user, too")
def test_home_in_a_folder_of_somebody_else_is_named_with_the_remedy(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(HomeUnusable, match=rf"cannot write to the home {tmp_path}/home \(Permission denied\): .*set LAFID_HOME"):
        Settings(home=tmp_path / "home", store_uri="x").prepare()


def test_full_disk_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(HomeUnusable, match=r"No space left on device\): free some space"):
        settings.prepare()


def test_missing_dagster_yaml_is_not_blamed_on_the_home(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAFID_DAGSTER_YAML", "/nowhere/dagster.yaml")
    with pytest.raises(FileNotFoundError, match="/nowhere/dagster.yaml.*LAFID_DAGSTER_YAML") as caught:
        settings.prepare()
    assert not isinstance(caught.value, HomeUnusable)


def test_settings_cannot_be_changed(settings: Settings) -> None:
    with pytest.raises(ValueError, match="frozen"):
        settings.store_uri = "elsewhere"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("storage: [", "is no YAML"),
        ("just words", "holds no settings of Dagster"),
        (
            "storage: {postgres: {postgres_db: {password: planted}}}",
            r"a password at storage.postgres.postgres_db.password, .*env: NAME",
        ),
        ("storage: {postgres: {postgres_url: 'postgresql://u:planted@h/d'}}", "a password at storage.postgres.postgres_url"),
    ],
)
def test_a_dagster_yaml_that_cannot_be_used_or_shown_is_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, told: str
) -> None:
    (tmp_path / "own.yaml").write_text(text)
    monkeypatch.setenv("LAFID_DAGSTER_YAML", str(tmp_path / "own.yaml"))
    with pytest.raises(DagsterYamlUnusable, match=told) as caught:
        settings.prepare()
    assert "planted" not in str(caught.value)
    assert not settings.home.exists()
    (tmp_path / "own.yaml").write_text("storage: {postgres: {postgres_db: {password: {env: PGPASSWORD}}}}")
    settings.prepare()


def test_a_password_in_mlflows_address_is_refused_without_showing_it(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:planted@mlflow.team")
    with pytest.raises(PasswordInAddress, match=r"me:\*\*\*@mlflow.team: .*MLFLOW_TRACKING_PASSWORD"):
        _ = settings.mlflow_uri
