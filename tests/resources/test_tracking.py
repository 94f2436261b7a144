"""The registry's questions are tested where they are asked (`release.test_registered_model`); here what needs no registry."""

import json
import socket
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from resources import tracking
from resources.tracking import _ADDRESSES, EXPERIMENT, RegisteredVersion, Tracking, TrackingUnreachable, follow_moved_home


def test_version_is_pulled_by_its_number() -> None:
    assert RegisteredVersion("lafid", "3").uri == "models:/lafid/3"


def test_local_registry_is_there_once_its_file_is(tmp_path: Path) -> None:
    local = Tracking(f"sqlite:///{tmp_path}/mlflow.db", tmp_path)
    assert not local.is_there
    (tmp_path / "mlflow.db").touch()
    assert local.is_there
    assert Tracking("http://team:5000", tmp_path).is_there


def test_logged_models_are_asked_for_page_by_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Logged:
        model_id: str

    class Page(list[Logged]):
        token: str | None = None

    class Client:
        def get_experiment_by_name(self, name: str) -> Any:
            return self

        experiment_id = "1"

        def search_logged_models(self, experiments: list[str], asked: str, page_token: str | None = None) -> Page:
            assert (experiments, asked) == (["1"], "tags.`lafid.dataset_version` = 'v1'")
            page = Page([Logged("m-2" if page_token else "m-1")])
            page.token = None if page_token else "next"
            return page

    monkeypatch.setattr(Tracking, "connect", lambda self: Client())
    assert Tracking("http://team:5000", tmp_path).tagged_models("lafid.dataset_version", "v1") == ["m-1", "m-2"]


def test_a_server_that_is_away_is_told_before_mlflow_asks(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{unused.getsockname()[1]}"
    with pytest.raises(TrackingUnreachable, match=rf"MLflow at {uri} does not answer .*refused.*MLFLOW_TRACKING_URI"):
        Tracking(uri, tmp_path).connect()


def test_a_server_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracking.ANSWER_S < 10
    monkeypatch.setattr(tracking, "ANSWER_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(TrackingUnreachable, match="timed out"):
        Tracking(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path).connect()


def test_a_server_that_wants_a_password_answers() -> None:
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            connection, _ = server.accept()
            heard.append(connection.recv(4096).split(b"\r\n")[0])
            connection.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
            connection.close()

        answering = threading.Thread(target=refuse)
        answering.start()
        tracking._see_that_it_answers(f"http://127.0.0.1:{server.getsockname()[1]}/")
        answering.join()
    assert heard == [b"GET /health HTTP/1.1"]


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
