"""A Ray head that is away fails no run. No head is asked."""

from types import SimpleNamespace
from typing import Any

import pytest
import requests
import yaml
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.run_coordinator import QueuedRunCoordinator
from dagster_ray import RayRunLauncher

from lafid_assets.runs.ray_launcher import RayLauncher
from resources.settings import PROJECT_ROOT

CONTEXT: Any = SimpleNamespace()


def _launch(monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> None:
    def launch(*_: Any) -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(RayRunLauncher, "launch_run", launch)
    RayLauncher("http://head:8265").launch_run(CONTEXT)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("Failed to connect to Ray at address: http://head:8265."),
        requests.exceptions.ConnectionError("reset"),
        requests.exceptions.ReadTimeout("slow"),
        RuntimeError("Request failed with status code 503: GCS is not ready."),
    ],
)
def test_a_head_that_is_away_leaves_the_run_in_the_queue(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Dagster's daemon puts a run back for this one kind of error, where `run_queue` says so."""
    with pytest.raises(DagsterUserCodeUnreachableError, match="Ray's head at http://head:8265 does not answer: start it"):
        _launch(monkeypatch, error)
    told = yaml.safe_load((PROJECT_ROOT / "deploy" / "dagster.ray.yaml").read_text())
    queue = QueuedRunCoordinator(**told["run_queue"]).get_run_queue_config()
    a_day_s = 24 * 3600
    assert queue.max_user_code_failure_retries * queue.user_code_failure_retry_delay > a_day_s
    launcher = told["run_launcher"]
    assert (launcher["module"], launcher["class"]) == (RayLauncher.__module__, RayLauncher.__name__)


def test_what_cannot_be_launched_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="400"):
        _launch(monkeypatch, RuntimeError("Request failed with status code 400: no such environment."))


def test_a_run_whose_launch_was_not_answered_is_not_launched_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    _launch(monkeypatch, RuntimeError("Request failed with status code 500: Job with submission_id 1 already exists."))
    _launch(monkeypatch, None)
