"""What the trainer does with every judged model: tells the judgement, hands the checkpoints to MLflow, draws held-out persons.

Belongs here: the callback that `model.training.train` takes as `validate`. Not here: judging and keeping (`model`), MLflow's
calls (`mlflow_run`). Nothing that goes wrong here ends a training; all of it is told.
"""

import logging
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from resources.trainer.job import HeldOutClip, TrainingJob
from resources.trainer.mlflow_run import MlflowRun

if TYPE_CHECKING:
    from model.face_branch.trainable import FusedModel
    from model.release.checkpoint import Manifest
    from model.release.pipeline import LafidPipeline

LOGGER = logging.getLogger("lafid.training")
VIDEOS = "validation"
"""Their folder in that of the run, and among its artifacts in MLflow."""


class VideosImpossible(ValueError):
    """The job asks for videos that this launch cannot draw; the message names the remedy."""


class _Stopping(BaseException):
    """SIGTERM came while a video was drawn: no error, and nobody who catches those may take it."""


@dataclass(frozen=True)
class Validation:
    """The callback for one job."""

    job: TrainingJob
    mlflow: MlflowRun
    stop: Callable[[], bool]

    def __post_init__(self) -> None:
        if self.job.held_out and self.job.preset.train.shard_base and int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise VideosImpossible(
                "processes share the base's weights (train.shard_base), so none of them can draw: set validation_clips to 0"
            )

    def __call__(self, model: "FusedModel", manifest: "Manifest", run_dir: Path) -> None:
        from model.training.kept_checkpoints import CHECKPOINTS, checkpoints_in

        if manifest.validation_loss is not None:
            LOGGER.info(
                "step %d of %d: validation loss %.4f on %s clips",
                manifest.step,
                manifest.preset.train.steps,
                manifest.validation_loss,
                manifest.validated_on,
            )
            self.mlflow.note({"validation_loss": manifest.validation_loss}, manifest.step)
        self.mlflow.keep_models(checkpoints_in(run_dir / CHECKPOINTS), self.job.base_dir)
        if not self.job.held_out:
            return
        folder = run_dir / VIDEOS / f"step-{manifest.step:07d}"
        try:
            with _told(f"step {manifest.step}: no videos"):
                self._draw(model, manifest, folder)
        except _Stopping:
            LOGGER.info("SIGTERM: step %d is left without some of its videos", manifest.step)
        if folder.is_dir():
            self.mlflow.keep_videos(folder, f"{VIDEOS}/{folder.name}")

    def _draw(self, model: "FusedModel", manifest: "Manifest", folder: Path) -> None:
        from model.release.pipeline import engine_named
        from model.training.held_out_videos import live_pipeline

        missing = [clip for clip in self.job.held_out if not (folder / f"{clip.clip_id}.mp4").is_file()]
        if not missing:
            return
        engine = engine_named(manifest.face_engine.name)
        with live_pipeline(model, manifest, engine, self.job.semantic_dir) as pipeline:
            for clip in missing:
                with _told(f"step {manifest.step}: no video of clip {clip.clip_id}"):
                    self._draw_one(pipeline, clip, folder / f"{clip.clip_id}.mp4")

    def _draw_one(self, pipeline: "LafidPipeline", clip: HeldOutClip, path: Path) -> None:
        import numpy as np
        from PIL import Image

        from model.encoding.video_io import write_mp4
        from model.training.held_out_videos import draw_held_out

        def on_step(_done: int, _steps: int) -> None:
            if self.stop():
                raise _Stopping

        first_frame = np.asarray(Image.open(clip.first_frame).convert("RGB"))
        write_mp4(path, draw_held_out(pipeline, first_frame, clip.caption, on_step), pipeline.fps)


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Training goes on, and the next clip may do better."""
    try:
        yield
    except Exception as error:
        traceback.print_exc()
        LOGGER.error("%s (%s: %s)", what, type(error).__name__, error)
