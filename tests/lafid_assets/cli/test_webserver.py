"""Dagster's webserver as a command asks it: its address, and what it says when it cannot."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from lafid_assets.cli.webserver import Webserver, WebserverUnusable


@contextmanager
def _answering(answer: Callable[[dict[str, Any]], tuple[int, Any]], heard: list[Any]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            heard.append((self.path, self.headers.get("Authorization"), body["variables"]))
            status, told = answer(body)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(told).encode())

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def _launched(kind: str, **told: Any) -> Callable[[dict[str, Any]], tuple[int, Any]]:
    return lambda _: (200, {"data": {"launchPipelineExecution": {"__typename": kind} | told}})


def test_a_run_is_asked_for_by_its_assets_with_what_it_is_told() -> None:
    heard: list[Any] = []
    with _answering(_launched("LaunchRunSuccess", run={"runId": "abc"}), heard) as place:
        webserver = Webserver(f"http://somebody:se%40cret@{place}/team/")
        assert webserver.ask(["raw_clips"], {"raw_clips": {"config": {}}}, {"lafid/by": "test"}) == "abc"
    [(path, authorization, variables)] = heard
    assert (path, authorization) == ("/team/graphql", "Basic c29tZWJvZHk6c2VAY3JldA==")
    asked = variables["executionParams"]
    assert (asked["selector"]["pipelineName"], asked["selector"]["assetSelection"]) == ("__ASSET_JOB", [{"path": ["raw_clips"]}])
    assert asked["runConfigData"] == {"ops": {"raw_clips": {"config": {}}}}
    assert asked["executionMetadata"] == {"tags": [{"key": "lafid/by", "value": "test"}]}
    assert webserver.page("abc") == f"http://somebody:***@{place}/team/runs/abc"
    assert webserver.listing("lafid/asked", "1").endswith("/team/runs?q[0]=tag%3Alafid%2Fasked%3D1")


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (
            _launched("PythonError", message="no location\nat all", stack=[]),
            r"takes no run \(no location at all\): see",
        ),
        (lambda _: (401, {"error": "who are you"}), "takes no run .*401"),
    ],
)
def test_a_webserver_that_refuses_is_one_line(answer: Any, complaint: str) -> None:
    with _answering(answer, []) as place, pytest.raises(WebserverUnusable, match=complaint) as refused:
        Webserver(f"http://{place}").ask(["raw_clips"], {}, {})
    assert "\n" not in str(refused.value)


def test_a_webserver_that_is_away_is_named_with_the_remedy() -> None:
    with pytest.raises(WebserverUnusable, match="at http://127.0.0.1:9 does not answer: start it, or set LAFID_DAGSTER_URL"):
        Webserver("http://127.0.0.1:9").ask(["raw_clips"], {}, {})


def test_no_address_and_a_wrong_one_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAFID_DAGSTER_URL", raising=False)
    with pytest.raises(WebserverUnusable, match="LAFID_DAGSTER_YAML names a cluster and LAFID_DAGSTER_URL is not set"):
        Webserver.from_environment()
    for wrong in ("dagster:3000", "http://host:port", "ftp://host"):
        monkeypatch.setenv("LAFID_DAGSTER_URL", wrong)
        with pytest.raises(WebserverUnusable, match="give the address of Dagster's webserver, as http://HOST:3000"):
            Webserver.from_environment()
