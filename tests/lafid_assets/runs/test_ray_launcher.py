"""A Ray head that is away fails no run, a job that it has lost does. No head is asked."""

from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
import requests
import yaml
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import WorkerStatus
from dagster._core.run_coordinator import QueuedRunCoordinator
from dagster_ray import RayRunLauncher
from ray.job_submission import JobStatus

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


RUN = dg.DagsterRun(job_name="__ASSET_JOB", run_id="one", status=dg.DagsterRunStatus.STARTED)
DIED = "Job supervisor actor died: its node has died."


def _launcher(answer: JobStatus | Exception) -> RayLauncher:
    """Beside a head that answers so when it is asked for a job."""

    def ask(submission_id: str) -> JobStatus:
        assert submission_id == "dagster-run-one"
        if isinstance(answer, Exception):
            raise answer
        return answer

    launcher = RayLauncher("http://head:8265")
    launcher._instance_weakref = lambda: SimpleNamespace(count_resume_run_attempts=lambda _: 0)  # type: ignore[assignment]
    launcher.client = SimpleNamespace(  # type: ignore[assignment]
        get_job_status=ask, get_job_info=lambda job: SimpleNamespace(message=DIED, status=ask(job))
    )
    return launcher


@pytest.mark.parametrize(
    ("answer", "health"),
    [
        (JobStatus.PENDING, WorkerStatus.RUNNING),
        (JobStatus.FAILED, WorkerStatus.FAILED),
        (RuntimeError("Request failed with status code 404: Job dagster-run-one does not exist."), WorkerStatus.UNKNOWN),
        (RuntimeError("Request failed with status code 503: GCS is not ready."), WorkerStatus.RUNNING),
    ],
)
def test_a_run_is_lost_when_its_job_is_and_not_when_the_head_is_away(answer: JobStatus | Exception, health: WorkerStatus) -> None:
    """Dagster fails runs at work whose workers are neither RUNNING nor SUCCESS."""
    assert _launcher(answer).check_run_worker_health(RUN).status == health


def test_why_a_job_ended_is_told_in_one_line() -> None:
    assert _launcher(JobStatus.FAILED).get_run_worker_debug_info(RUN) == DIED
    assert _launcher(RuntimeError("Request failed with status code 404")).get_run_worker_debug_info(RUN) is None
