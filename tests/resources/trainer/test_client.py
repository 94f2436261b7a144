"""Runs of Dagster over real child processes: cancelled, killed, failed and finished."""

import json
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from resources.settings import Settings
from resources.trainer.client import TrainerClient
from resources.trainer.launch import LaunchConfig

# Speaks Pipes as the real child does, without torch.
TALKER = """
import json, logging, os, sys
from dagster_pipes import open_dagster_pipes
from resources.output import print_line_by_line
ending, code = json.loads(sys.argv[1]), int(sys.argv[2])
print_line_by_line()
with open_dagster_pipes() as pipes:
    pipes.log.info("step 10 of 20: loss 0.5000")
    print("a line on stdout")
    print("torchrun's grace:", os.environ["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"])
    print("the last line, on stderr", file=sys.stderr)
    if ending:
        pipes.report_custom_message(ending)
sys.exit(code)
"""
FINISHED = {
    "kind": "finished",
    "checkpoints": {
        "last": {
            "folder": "somewhere/checkpoint",
            "step": 20,
            "loss_after": 0.5,
            "validation_loss": None,
            "validated_on": None,
            "likeness": None,
            "judged_by": None,
        }
    },
    "resumed_from": 10,
    "loss_before": 1.0,
    "clips_left_out": [],
    "videos_dir": None,
    "mlflow_run_id": "abc",
    "metrics": {"loss": 0.5, "hfu": 0.46},
}


def _talker(ending: dict[str, Any] | None, code: int) -> list[str]:
    return [sys.executable, "-c", TALKER, json.dumps(ending), str(code)]


@dataclass
class Materialized:
    """One materialization in this process."""

    result: dg.ExecuteInProcessResult
    log_lines: list[str]
    failure: dg.Failure | None

    @property
    def message(self) -> str:
        assert self.failure is not None
        return self.failure.description or ""


@pytest.fixture
def materialize(tmp_path: Path) -> Callable[[list[str]], Materialized]:
    def run(command: list[str]) -> Materialized:
        failures: list[dg.Failure] = []

        @dg.asset
        def trained(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
            try:
                finished = TrainerClient(LaunchConfig(grace_s=5)).run(context, command, tmp_path / "run" / "trainer.log")
            except dg.Failure as failure:
                failures.append(failure)
                raise
            return dg.MaterializeResult(metadata={"steps": finished.checkpoints["last"].step, **finished.metrics})

        instance = dg.DagsterInstance.ephemeral()
        result = dg.materialize([trained], instance=instance, raise_on_error=False)
        lines = [entry.user_message for entry in instance.all_logs(result.run_id)]
        return Materialized(result, lines, failures[0] if failures else None)

    return run


def test_log_lines_and_metrics_arrive(materialize: Any, tmp_path: Path) -> None:
    done = materialize(_talker(FINISHED, 0))
    [event] = done.result.asset_materializations_for_node("trained")
    assert {name: event.metadata[name].value for name in ("steps", "loss", "hfu")} == {"steps": 20, "loss": 0.5, "hfu": 0.46}
    assert "step 10 of 20: loss 0.5000" in done.log_lines
    printed = (tmp_path / "run" / "trainer.log").read_text()
    assert "a line on stdout" in printed
    assert "torchrun's grace: 5" in printed


FAILED = {"kind": "failed", "message": "TrainingError: step 3: loss nan"}
INTERRUPTED = {"kind": "interrupted", "step": 7}


@pytest.mark.parametrize(
    ("ending", "code", "retried", "why"),
    [
        (FAILED, 1, False, "the trainer failed: TrainingError: step 3: loss nan"),
        (INTERRUPTED, 75, True, "the trainer was interrupted after step 7; its state is saved: materialize again"),
        (INTERRUPTED, 1, True, "the trainer was interrupted after step 7; its state is saved: materialize again"),
        (None, 75, True, "the trainer was interrupted; its state is saved: materialize again"),
        (None, 4, True, "the trainer ended with exit code 4 and without a result"),
        (FINISHED, 139, True, "the trainer was killed by SIGSEGV; materialize again"),
    ],
)
def test_other_endings_are_one_message_with_the_last_lines(
    materialize: Any, ending: Any, code: int, retried: bool, why: str
) -> None:
    done = materialize(_talker(ending, code))
    assert not done.result.success
    assert done.message.startswith(why)
    assert done.message.splitlines()[-1] == "the last line, on stderr"
    assert done.failure.allow_retries == retried
    assert done.failure.metadata["exit_code"].value == code


def test_earlier_output_is_not_shown_as_the_last_lines(materialize: Any, tmp_path: Path) -> None:
    log = tmp_path / "run" / "trainer.log"
    log.parent.mkdir()
    log.write_text("of an earlier run\n")
    assert materialize([sys.executable, "-c", "raise SystemExit(9)"]).message.endswith("\nnone")
    assert log.read_text() == "of an earlier run\n"


@pytest.fixture
def instance(settings: Settings) -> dg.DagsterInstance:
    """The installation's own instance: its dagster.yaml, its pools."""
    settings.prepare()
    return dg.DagsterInstance.get()


@pytest.mark.parametrize("behaviour", ["saves", "stubborn"])
def test_cancelled_run_ends_its_trainer_before_it_ends_itself(processes: Any, instance: Any, behaviour: str) -> None:
    """As a run launcher cancels: the run is marked, its worker gets SIGINT."""
    # Longer than the worker needs to end when it does not wait.
    worker = processes.worker(processes.trainer(behaviour), grace_s=5.0)
    trainer = processes.pid("trainer")
    [run] = instance.get_runs()
    instance.report_run_canceling(run)
    worker.send_signal(signal.SIGINT)
    worker.communicate(timeout=900)
    assert (processes.folder / "sigterm").exists()
    assert not processes.runs(trainer)
    assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.CANCELED
    assert instance.event_log_storage.get_concurrency_info("gpu").active_slot_count == 0, "the next training would wait"


def test_killed_worker_takes_along_whoever_ignores_sigterm(processes: Any, instance: Any) -> None:
    worker = processes.worker(processes.trainer("stubborn"), grace_s=1.0)
    trainer, rank = processes.pid("trainer"), processes.pid("rank")
    worker.kill()
    processes.until_gone(trainer, rank)
    assert (processes.folder / "sigterm").exists()


def test_pool_keeps_two_trainers_apart(processes: Any, instance: Any) -> None:
    assert instance.get_concurrency_config().pool_config.default_pool_limit == 1
    journal, done = processes.folder / "journal", processes.folder / "done"
    program = (
        "import pathlib, sys, time\n"
        "journal, done = sys.argv[1:]\n"
        "note = lambda word: open(journal, 'a').write(word + '\\n')\n"
        "note('begins')\n"
        "while not pathlib.Path(done).exists(): time.sleep(0.05)\n"
        "note('ends')\n"
    )
    workers = [processes.worker([sys.executable, "-c", program, str(journal), str(done)], grace_s=1.0) for _ in range(2)]

    def one_waits() -> bool:
        pool = instance.event_log_storage.get_concurrency_info("gpu")
        return pool.active_slot_count == 1 and any(step.assigned_timestamp is None for step in pool.pending_steps)

    processes.until(one_waits, "nobody waits for the one place")
    done.touch()
    for worker in workers:
        worker.communicate(timeout=900)
    assert journal.read_text().split() == ["begins", "ends", "begins", "ends"]
