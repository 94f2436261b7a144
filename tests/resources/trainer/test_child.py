"""The trainer's entry point, over a training loop that is told how to end; the real loop, killed and resumed, is in tests/e2e."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from model.presets import preset
from resources.settings import PROJECT_ROOT
from resources.tracking import EXPERIMENT, Tracking
from resources.trainer import child
from resources.trainer.job import Failed, Finished, Interrupted, KeptIn, TrainingJob
from resources.trainer.mlflow_run import KEY_TAG

STEPS = 20
# The real entry point over a training that prints and is killed, by the kernel when memory runs out, say.
KILLED = """
import os, signal, sys
from resources.trainer import child
def run(job, stop):
    print("first, on stdout")
    print("second, on stderr", file=sys.stderr)
    print("last, on stdout")
    os.kill(os.getpid(), signal.SIGKILL)
child.run = run
child.main()
"""


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    """One store for all: making it takes seconds. Every test trains on a dataset version of its own."""
    folder = tmp_path_factory.mktemp("mlflow")
    return Tracking(f"sqlite:///{folder}/mlflow.db", folder / "artifacts")


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tracking: Tracking) -> TrainingJob:
    import model.bases.base

    info = SimpleNamespace(name="tiny", sha256="ba5e", repository=None, revision="r1")
    monkeypatch.setattr(model.bases.base, "read_base_info", lambda folder: info)
    return TrainingJob(
        preset=preset("tiny"),
        clip_list=tmp_path / "clips.parquet",
        base_dir=tmp_path / "tiny",
        out_dir=tmp_path / "runs",
        dataset_version=tmp_path.name,
        tracking_uri=tracking.uri,
        tracking_artifacts=tracking.artifacts,
        tags={"lafid.dataset_version": "v1", "lafid.seed": "0"},
    )


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Callable[[int], None]], None]:
    """Puts a loop in the place of the real one: it reports every step, calls `at_step`, and stops when it is asked to."""
    import model.release.checkpoint
    import model.training.train
    from model.training.report import TrainReport, TrainResult
    from model.training.train import TrainingStopped

    manifest = SimpleNamespace(step=STEPS, loss_after=0.5, validation_loss=None, validated_on=None, likeness=None, judged_by=None)
    monkeypatch.setattr(model.release.checkpoint, "read_manifest", lambda folder: manifest)
    monkeypatch.setattr(child.MlflowRun, "keep_models", lambda *_: None)

    def put(at_step: Callable[[int], None]) -> None:
        def train(*_: Any, dataset_version: str, stop: Callable[[], bool], **__: Any) -> TrainResult:
            report = _[4]
            for step in range(1, STEPS + 1):
                at_step(step)
                report(TrainReport(step, STEPS, 1 / step, 0.1, 1e-3, float(step), {"hfu": 0.4, "seconds_per_step": 2.0}))
                if stop():
                    raise TrainingStopped(step)
            last, averaged = (tmp_path / "runs" / "x" / name for name in ("checkpoint", "checkpoint_ema"))
            return TrainResult(last, 1.0, 0.5, STEPS, 9.0, 3, None, averaged, None, ("clip-9",))

        monkeypatch.setattr(model.training.train, "train", train)

    return put


def _mlflow_run(job: TrainingJob) -> tuple[Any, Any]:
    client = Tracking(job.tracking_uri, job.tracking_artifacts).connect()
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    [run] = client.search_runs([experiment], f"tags.`{KEY_TAG}` = '{job.key}'")
    return client, run


def test_everything_it_tells_lies_in_one_mlflow_run(job: TrainingJob, training: Any) -> None:
    """A training that was interrupted and went on is one run, with parameters, tags and every report's figures at its step."""
    training(lambda step: None)
    stopped = child.run(job, lambda: True)
    assert stopped == Interrupted(step=1)
    assert _mlflow_run(job)[1].info.status == "KILLED"

    finished = child.run(job, lambda: False)
    client, run = _mlflow_run(job)
    assert run.info.status == "FINISHED"
    assert isinstance(finished, Finished)
    assert sorted(finished.checkpoints) == ["ema", "last"]
    assert finished.checkpoints["ema"].folder.name == "checkpoint_ema"
    assert (finished.mlflow_run_id, finished.checkpoints["last"].step, finished.resumed_from) == (run.info.run_id, STEPS, 3)
    assert finished.clips_left_out == ("clip-9",)
    assert finished.metrics == {"loss": 1 / STEPS, "grad_norm": 0.1, "hfu": 0.4, "seconds_per_step": 2.0}
    told = client.get_metric_history(run.info.run_id, "loss")
    assert {(metric.step, metric.value) for metric in told} == {(step, 1 / step) for step in range(1, STEPS + 1)}
    assert run.data.metrics["hfu"] == 0.4
    expected = {"lafid.dataset_version": "v1", "lafid.base": "tiny", "lafid.base_sha256": "ba5e", "lafid.base_revision": "r1"}
    assert expected.items() <= run.data.tags.items()
    assert run.data.params["train.lr"] == str(job.preset.train.lr)
    assert run.data.params["fusion.aligner.dictionary"] == "64"


def test_error_is_one_line_and_fails_the_mlflow_run(job: TrainingJob, training: Any, capsys: Any) -> None:
    def break_down(step: int) -> None:
        raise RuntimeError("loss nan on clips a")

    training(break_down)
    assert child.run(job, lambda: False) == Failed(message="RuntimeError: loss nan on clips a")
    assert "Traceback" in capsys.readouterr().err
    assert _mlflow_run(job)[1].info.status == "FAILED"


def test_metrics_that_mlflow_refused_are_sent_again(
    job: TrainingJob, training: Any, monkeypatch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    import mlflow
    from mlflow.exceptions import MlflowException

    taken = mlflow.MlflowClient.log_batch
    away = {"now": False}

    def log_batch(self: Any, *arguments: Any, **named: Any) -> None:
        if away["now"]:
            raise MlflowException("the server is away")
        taken(self, *arguments, **named)

    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", log_batch)
    training(lambda step: away.update(now=3 <= step <= 5))
    child.run(job, lambda: False)
    client, run = _mlflow_run(job)
    assert [metric.step for metric in client.get_metric_history(run.info.run_id, "loss")] == list(range(1, STEPS + 1))
    assert [record for record in caplog.records if "MLflow took no metrics (the server is away)" in record.getMessage()]


@pytest.mark.parametrize(("seconds", "told"), [(119, "119 s"), (120, "2.0 min"), (9_000, "2.5 h"), (1_152_000, "13.3 days")])
def test_time_is_told_in_the_unit_that_one_plans_in(seconds: float, told: str) -> None:
    assert child.time_left(seconds) == told


def test_ranks_but_the_first_stay_silent(job: TrainingJob, training: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(child, "MlflowRun", None)
    training(lambda step: None)
    finished = child.run(job, lambda: False)
    assert isinstance(finished, Finished)
    assert finished.mlflow_run_id is None


def test_a_run_in_a_store_on_s3_is_kept_there(job: TrainingJob, monkeypatch: Any, bucket: str, tmp_path: Path) -> None:
    import model.training.train

    keepers: list[Any] = []

    def train(*_: Any, keeper: Any, **__: Any) -> None:
        keepers.append(keeper)
        raise ValueError("far enough")

    monkeypatch.setattr(model.training.train, "train", train)
    monkeypatch.setattr(child, "MlflowRun", lambda *_: MagicMock(run_id="m"))
    child.run(job, lambda: False)
    kept_in = KeptIn(store_uri=f"s3://{bucket}/lafid", home=tmp_path)
    child.run(TrainingJob.model_validate_json(job.model_copy(update={"kept_in": kept_in}).write().read_text()), lambda: False)
    assert keepers[0] is None
    assert (keepers[1].store.uri, keepers[1].store.here("").is_relative_to(tmp_path / "cache")) == (kept_in.store_uri, True)


def test_sigterm_stops_and_has_its_own_exit_code(job: TrainingJob, training: Any, monkeypatch: Any) -> None:
    training(lambda step: os.kill(os.getpid(), signal.SIGTERM) if step == 4 else None)
    monkeypatch.setattr(child, "MlflowRun", lambda *_: MagicMock(run_id="m"))
    monkeypatch.setattr(sys, "argv", ["child", str(job.write())])
    before = {name: signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGINT)}
    try:
        assert child.main() == 75
        training(lambda step: None)
        assert child.main() == 0
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def test_what_a_killed_trainer_printed_is_in_its_log_in_order(job: TrainingJob, tmp_path: Path) -> None:
    with (tmp_path / "trainer.log").open("wb") as log:
        command = [sys.executable, "-c", KILLED, str(job.write())]
        killed = subprocess.run(command, cwd=PROJECT_ROOT, stdout=log, stderr=subprocess.STDOUT, check=False)
    lines = (tmp_path / "trainer.log").read_text().splitlines()
    assert lines == ["first, on stdout", "second, on stderr", "last, on stdout"]
    assert killed.returncode == -signal.SIGKILL


def test_line_says_where_a_run_stands() -> None:
    from model.training.report import TrainReport

    state = TrainReport(20, 120, 0.51234, 1.5, 1e-3, 60.0, {"seconds_per_step": 3.0})
    assert child.progress_line(state) == "step 20 of 120: loss 0.5123, gradient norm 1.5, 3 s a step, about 5.0 min left"
    assert child.progress_line(replace(state, metrics={})) == "step 20 of 120: loss 0.5123, gradient norm 1.5"


def test_key_names_the_training_and_not_who_runs_it(job: TrainingJob, tmp_path: Path) -> None:
    same = job.model_copy(update={"tags": {}, "out_dir": tmp_path / "elsewhere"})
    other = job.model_copy(update={"dataset_version": "another"})
    assert same.key == job.key != other.key
    averaged = job.preset.model_copy(update={"train": job.preset.train.model_copy(update={"publish": "ema"})})
    assert job.model_copy(update={"preset": averaged}).key == job.key, "what is published is chosen afterwards"
    assert TrainingJob.model_validate_json(job.write().read_text()) == job
    assert json.loads((job.folder / "job.json").read_text())["dataset_version"] == tmp_path.name
