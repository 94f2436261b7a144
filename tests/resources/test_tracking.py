"""The registry's questions are tested where they are asked (`release.test_registered_model`); here what needs no registry."""

import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from resources import tracking
from resources.tracking import RegisteredVersion, Tracking, TrackingUnreachable


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
