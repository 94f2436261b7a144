"""A home is renamed between two connections: what MLflow kept is found where it lies now."""

import json
import sqlite3
from pathlib import Path

import pytest

from resources.tracking import _ADDRESSES, EXPERIMENT, Tracking, follow_moved_home

OLD, NEW = "old home é", "new home"
FILE = "figures.json"


def _tracking(home: Path) -> Tracking:
    return Tracking(f"sqlite:///{home}/mlflow.db", home / "artifacts")


def test_a_moved_home_keeps_runs_versions_and_what_they_hold(tmp_path: Path) -> None:
    home = tmp_path / OLD
    home.mkdir()
    client = _tracking(home).open_experiment()
    run = client.create_run(client.get_experiment_by_name(EXPERIMENT).experiment_id)
    client.log_dict(run.info.run_id, {"loss": 1.0}, FILE)
    client.create_registered_model("lafid")
    client.create_model_version("lafid", f"{run.info.artifact_uri}/{FILE}", run.info.run_id)
    model = client.create_logged_model(run.info.experiment_id, name="tiny")
    elsewhere = client.create_experiment("other", artifact_location="s3://bucket/artifacts")

    home.rename(tmp_path / NEW)
    moved = tmp_path / NEW
    client = _tracking(moved).connect()
    assert json.loads(Path(client.download_artifacts(run.info.run_id, FILE)).read_text()) == {"loss": 1.0}
    assert client.get_model_version("lafid", "1").source == f"{(moved / 'artifacts').as_uri()}/{run.info.run_id}/artifacts/{FILE}"
    assert client.get_logged_model(model.model_id).artifact_location.startswith(moved.as_uri())
    assert client.get_experiment(elsewhere).artifact_location == "s3://bucket/artifacts"
    assert not follow_moved_home(moved / "mlflow.db", moved / "artifacts", EXPERIMENT)
    with sqlite3.connect(moved / "mlflow.db") as database:
        for table, column in _ADDRESSES:
            (left,) = database.execute(f"SELECT count(*) FROM {table} WHERE {column} LIKE '%old%home%'").fetchone()
            assert left == 0, f"{table}.{column}"


@pytest.mark.parametrize("database", ["apart/mlflow.db", "none.db"])
def test_what_does_not_move_together_stays(tmp_path: Path, database: str) -> None:
    path = tmp_path / database
    path.parent.mkdir(exist_ok=True)
    if path.name == "mlflow.db":
        with sqlite3.connect(path) as made:
            made.execute("CREATE TABLE experiments (name, artifact_location)")
            made.execute("INSERT INTO experiments VALUES (?, 'file:///elsewhere')", (EXPERIMENT,))
    assert not follow_moved_home(path, tmp_path / "artifacts", EXPERIMENT)
