"""A training as one run in MLflow, however often it was interrupted and resumed.

Belongs here: reports -> metrics, a job -> parameters and tags, kept checkpoints -> LoggedModels. Not here: what a LoggedModel
holds (`model.release.package`), where the store is (`resources.tracking`).
"""

import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from model.files import sha256_folder
from model.presets import Preset
from resources.tracking import AVERAGED_TAG, CHECKPOINT_TAG, EXPERIMENT, STEP_TAG, Tracking

if TYPE_CHECKING:
    from mlflow.entities import Metric

    from model.release.checkpoint import Manifest
    from model.training.report import TrainReport

LOGGER = logging.getLogger("lafid.training")
KEY_TAG = "lafid.training"
METRICS_AT_ONCE = 1000
"""MLflow's limit for one request."""
PLAIN_FIGURES = ("loss", "grad_norm", "lr", "seconds")

RunEnd = Literal["FINISHED", "FAILED", "KILLED"]


class MlflowRun:
    """What the report callback tells MLflow. One request a report; a report that MLflow refused is sent again with the next."""

    def __init__(self, tracking: Tracking, key: str, preset: Preset, tags: Mapping[str, str]) -> None:
        """Opens the run of the training `key`, or goes on in the one that is there."""
        # Its defaults would hold up training for minutes when the server is away; what it missed is sent again anyway.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        self._tracking, self._client = tracking, tracking.open_experiment()
        self._tags = {**tags, KEY_TAG: key}
        self._unsent: list[Metric] = []
        experiment = self._client.get_experiment_by_name(EXPERIMENT).experiment_id
        known = self._client.search_runs([experiment], f"tags.`{KEY_TAG}` = '{key}'", max_results=1)
        run = known[0] if known else self._client.create_run(experiment, run_name=f"{preset.name}-{key}", tags={KEY_TAG: key})
        self.run_id: str = run.info.run_id
        self._client.update_run(self.run_id, status="RUNNING")
        self._describe(preset, tags)

    def report(self, state: "TrainReport") -> None:
        """All figures of one report at its step."""
        self.note({name: getattr(state, name) for name in PLAIN_FIGURES} | state.metrics, state.step)

    def note(self, figures: Mapping[str, float], step: int) -> None:
        """Figures at a step."""
        from mlflow.entities import Metric
        from mlflow.exceptions import MlflowException

        now_ms = int(time.time() * 1000)
        self._unsent += [Metric(name, value, now_ms, step) for name, value in figures.items()]
        try:
            self._send()
        except MlflowException as error:
            LOGGER.warning("MLflow took no metrics (%s): %d are kept for the next report", error, len(self._unsent))

    def judged(self, manifest: "Manifest") -> None:
        """How a checkpoint was judged, at its step; under `ema/` what the moving average reaches."""
        prefix = "ema/" if manifest.averaged else ""
        self.note({f"{prefix}{name}": value for name, value in _judgement(manifest).items()}, manifest.step)

    def keep_videos(self, folder: Path, artifact_path: str) -> None:
        """Everything in `folder` as artifacts; logged again, they take the place of the earlier ones."""
        from mlflow.exceptions import MlflowException

        try:
            self._client.log_artifacts(self.run_id, str(folder), artifact_path)
        except (MlflowException, OSError) as error:
            LOGGER.warning("MLflow took no videos (%s): they lie in %s", error, folder)

    def keep_models(self, checkpoints: Sequence[Path], base_dir: Path) -> None:
        """One LoggedModel for each of `checkpoints` and for no other of this training: what the keep rule removed goes here, too.

        MLflow only hides what is deleted until `mlflow gc`, and what was registered stays. A checkpoint that MLflow does not take
        now is tried again by the next call; the release logs the one that it needs.
        """
        from mlflow.exceptions import MlflowException

        from model.release.checkpoint import read_manifest

        try:
            manifests = {checkpoint: read_manifest(checkpoint) for checkpoint in checkpoints}
            kept = {(manifest.step, manifest.averaged): checkpoint for checkpoint, manifest in manifests.items()}
            logged = self._tracking.logged_checkpoints(self.run_id)
            for model_id, one in logged.items():
                if one not in kept and not self._tracking.is_registered(model_id):
                    self._client.delete_logged_model(model_id)
            for one in sorted(kept.keys() - set(logged.values())):
                self._log_model(kept[one], manifests[kept[one]], base_dir)
        except (MlflowException, OSError) as error:
            LOGGER.warning("MLflow does not hold all checkpoints that are kept (%s): it is tried again", error)

    def _log_model(self, checkpoint: Path, manifest: "Manifest", base_dir: Path) -> None:
        from model.release.package import log_checkpoint

        own = {CHECKPOINT_TAG: sha256_folder(checkpoint), STEP_TAG: str(manifest.step), AVERAGED_TAG: str(manifest.averaged)}
        log_checkpoint(
            checkpoint,
            base_dir,
            name=f"{manifest.preset.name}-step-{manifest.step}{'-ema' if manifest.averaged else ''}",
            tags=self._tags | own,
            metrics={"loss_before": manifest.loss_before, "loss_after": manifest.loss_after} | _judgement(manifest),
            run_id=self.run_id,
        )

    def end(self, status: RunEnd) -> None:
        """Sends what is left and closes the run. Training is over: that MLflow is away cannot undo it, and is told."""
        from mlflow.exceptions import MlflowException

        try:
            self._send()
            self._client.set_terminated(self.run_id, status)
        except MlflowException as error:
            LOGGER.warning("MLflow run %s stays open, %d metrics are lost (%s)", self.run_id, len(self._unsent), error)

    def _send(self) -> None:
        while batch := self._unsent[:METRICS_AT_ONCE]:
            self._client.log_batch(self.run_id, metrics=batch)
            del self._unsent[: len(batch)]

    def _describe(self, preset: Preset, tags: Mapping[str, str]) -> None:
        from mlflow.entities import Param, RunTag

        from model.release.package import training_params

        params = [Param(name, value) for name, value in training_params(preset).items()]
        # A resumed training has the same parameters: they are part of its key.
        self._client.log_batch(self.run_id, params=params, tags=[RunTag(name, value) for name, value in tags.items()])


def _judgement(manifest: "Manifest") -> dict[str, float]:
    """The figures of a judgement that could be measured."""
    likeness = {} if manifest.likeness is None else manifest.likeness.figures()
    measures = {"validation_loss": manifest.validation_loss, **likeness}
    return {name: value for name, value in measures.items() if value is not None}
