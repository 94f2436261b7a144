"""The trainer's entry point: `python -m resources.trainer.child JOB`, alone or once a rank under torchrun.

Belongs here: a job file and signals in; reports, an ending and an exit code out. Not here: the loop (`model.training.train`),
and whoever started this process. Launched by Dagster it speaks Pipes; by hand, or on the further nodes of a cluster, it only
prints.

Exit codes: 0 the checkpoint is there; 75 SIGTERM came, the state is saved, the same command goes on from it; 1 it failed.
"""

import argparse
import gc
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dagster_pipes import PipesEnvVarParamsLoader, open_dagster_pipes

from resources.output import print_line_by_line
from resources.store.file_store import FileStore
from resources.tracking import Tracking
from resources.trainer.job import INTERRUPTED_EXIT, Failed, Finished, Interrupted, TrainedCheckpoint, TrainingJob
from resources.trainer.kept_runs import KeptRuns
from resources.trainer.mlflow_run import MlflowRun, RunEnd
from resources.trainer.validation import VIDEOS, Validation

if TYPE_CHECKING:
    from model.training.report import TrainReport

LOGGER = logging.getLogger("lafid.training")
EXITS = {"finished": 0, "interrupted": INTERRUPTED_EXIT, "failed": 1}
RUN_ENDS: dict[str, RunEnd] = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}


def main() -> int:
    """Trains what the job file asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("job", type=Path, help="file that `TrainingJob.write` wrote")
    options = parser.parse_args()
    # First of all: importing torch alone takes seconds in which SIGTERM may come.
    asked: list[int] = []
    for expected in (signal.SIGTERM, signal.SIGINT):
        signal.signal(expected, lambda number, _frame: asked.append(number))
    gc.disable()  # until all is imported: looking for garbage in that took a fifth of the start
    print_line_by_line()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("lafid").setLevel(logging.INFO)
    with _dagster() as tell:
        ending = run(TrainingJob.model_validate_json(options.job.read_text()), lambda: bool(asked))
        tell(ending)
    return EXITS[ending.kind]


def run(job: TrainingJob, stop: Callable[[], bool]) -> Finished | Interrupted | Failed:
    """Trains until the end, an error, or `stop` says True; the training's run in MLflow ends with it."""
    mlflow = None
    ending: Finished | Interrupted | Failed
    try:
        if _is_first_rank():
            tracking = Tracking(job.tracking_uri, job.tracking_artifacts)
            mlflow = MlflowRun(tracking, job.key, job.preset, job.tags | _base_tags(job.base_dir))
        ending = _train(job, stop, mlflow)
    except Exception as error:  # the process's border: whatever ended training becomes one line for whoever launched it
        traceback.print_exc()
        ending = Failed(message=f"{type(error).__name__}: {error}")
    if mlflow:
        mlflow.end(RUN_ENDS[ending.kind])
    return ending


def time_left(seconds: float) -> str:
    """The time in the unit that one plans in."""
    for unit, unit_s in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.1f} {unit}"
    return f"{seconds:.0f} s"


def progress_line(state: "TrainReport") -> str:
    """What Dagster's log says every `log_every` steps."""
    per_step_s = state.metrics.get("seconds_per_step")
    speed = (
        ""
        if per_step_s is None
        else f", {per_step_s:.3g} s a step, about {time_left(per_step_s * (state.steps - state.step))} left"
    )
    return f"step {state.step} of {state.steps}: loss {state.loss:.4f}, gradient norm {state.grad_norm:.3g}{speed}"


def _train(job: TrainingJob, stop: Callable[[], bool], mlflow: MlflowRun | None) -> Finished | Interrupted:
    from model.training.checkpoint_retention import kept_in
    from model.training.train import TrainingStopped, train

    gc.freeze()
    gc.enable()
    last: dict[str, float] = {}

    def report(state: "TrainReport") -> None:
        LOGGER.info(progress_line(state))
        last.update({"loss": state.loss, "grad_norm": state.grad_norm, **state.metrics})
        if mlflow:
            mlflow.report(state)

    try:
        result = train(
            job.preset,
            job.clip_list,
            job.base_dir,
            job.out_dir,
            report,
            dataset_version=job.dataset_version,
            stop=stop,
            onlooker=Validation(job, mlflow, stop) if mlflow else None,
            keeper=None if job.kept_in is None else KeptRuns(FileStore(job.kept_in.store_uri, job.kept_in.home)),
        )
    except TrainingStopped as stopped:
        LOGGER.info("SIGTERM: the state after step %d of %d is saved", stopped.step, job.preset.train.steps)
        return Interrupted(step=stopped.step)
    run_dir = result.checkpoint_dir.parent
    finished = {
        "last": result.checkpoint_dir,
        "best": result.best_checkpoint_dir,
        "ema": result.ema_checkpoint_dir,
        "best_ema": result.best_ema_checkpoint_dir,
    }
    if mlflow:
        mlflow.keep_models([*kept_in(run_dir), *(found for found in (finished["last"], finished["ema"]) if found)], job.base_dir)
    return Finished(
        checkpoints={which: _described(found) for which, found in finished.items() if found},
        resumed_from=result.resumed_from,
        loss_before=result.loss_before,
        clips_left_out=result.clips_left_out,
        videos_dir=run_dir / VIDEOS if (run_dir / VIDEOS).is_dir() else None,
        mlflow_run_id=mlflow.run_id if mlflow else None,
        metrics=last,
    )


def _described(checkpoint: Path) -> TrainedCheckpoint:
    from model.release.checkpoint import read_manifest

    manifest = read_manifest(checkpoint)
    return TrainedCheckpoint(
        folder=checkpoint,
        step=manifest.step,
        loss_after=manifest.loss_after,
        validation_loss=manifest.validation_loss,
        validated_on=manifest.validated_on,
        likeness=manifest.likeness,
        judged_by=manifest.judged_by,
    )


def _base_tags(base_dir: Path) -> dict[str, str]:
    from model.bases.base import read_base_info

    base = read_base_info(base_dir)
    facts = {"base": base.name, "base_sha256": base.sha256, "base_repository": base.repository, "base_revision": base.revision}
    return {f"lafid.{name}": value for name, value in facts.items() if value is not None}


def _is_first_rank() -> bool:
    """The one that speaks: torchrun numbers its processes, a process without torchrun is the first of one."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def _dagster() -> Iterator[Callable[[Finished | Interrupted | Failed], None]]:
    """Sends LaFID's log to Dagster's where Dagster listens; gives what tells it the ending."""
    if not (_is_first_rank() and PipesEnvVarParamsLoader().is_dagster_pipes_process()):
        yield lambda ending: LOGGER.info("%s", ending.model_dump_json())
        return
    with open_dagster_pipes() as pipes:
        for handler in pipes.log.handlers:
            logging.getLogger("lafid").addHandler(handler)
        yield lambda ending: pipes.report_custom_message(ending.model_dump(mode="json"))


if __name__ == "__main__":
    sys.exit(main())
