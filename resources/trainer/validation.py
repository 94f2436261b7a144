"""What the trainer does with every judged model: draws held-out persons, measures their likeness, tells the judgement, hands the
checkpoints to MLflow.

Belongs here: the `Onlooker` that `model.training.train` takes. Not here: judging and keeping (`model.training`), what likeness is
(`model.likeness`), MLflow's calls (`mlflow_run`). Nothing that goes wrong here ends a training; all of it is told.
"""

import logging
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from model.likeness import Likeness, MeasuredVideo, likeness_of
from resources.trainer.job import HeldOutClip, TrainingJob
from resources.trainer.mlflow_run import MlflowRun

if TYPE_CHECKING:
    from model.clips.clip_set import ClipSet
    from model.face_branch.trainable import FusedModel
    from model.release.checkpoint import Manifest
    from model.release.pipeline import LafidPipeline

LOGGER = logging.getLogger("lafid.training")
VIDEOS = "validation"
"""Their folder in that of the run, and among its artifacts in MLflow."""


class _Stopping(BaseException):
    """SIGTERM came while a video was drawn: no error, and nobody who catches those may take it."""


@dataclass(frozen=True)
class Validation:
    """The onlooker of one job."""

    job: TrainingJob
    mlflow: MlflowRun
    stop: Callable[[], bool]

    @property
    def draws(self) -> bool:
        """Whether anybody is held out."""
        return bool(self.job.held_out)

    def draw(self, model: "FusedModel", manifest: "Manifest", run_dir: Path) -> Likeness | None:
        """The likeness of all held-out persons, whose videos lie in the run's folder; None where one of them was not drawn.

        Raises:
            DrawingStopped: SIGTERM came.
        """
        from model.training.validation import DrawingStopped

        if not self.draws:
            return None
        try:
            return self._likeness(model, manifest, _videos(manifest, run_dir))
        except _Stopping:
            LOGGER.info("SIGTERM: %s is judged when the training goes on", _named(manifest))
            raise DrawingStopped from None
        except Exception as error:
            traceback.print_exc()
            LOGGER.error("%s: no videos (%s: %s)", _named(manifest), type(error).__name__, error)
            return None

    def tell(self, manifest: "Manifest", run_dir: Path) -> None:
        """The judgement to log and MLflow, and to MLflow the checkpoints that are kept and the videos."""
        from model.training.checkpoint_retention import kept_in

        LOGGER.info("%s", judgement_line(manifest))
        self.mlflow.judged(manifest)
        self.mlflow.keep_models(kept_in(run_dir), self.job.base_dir)
        folder = _videos(manifest, run_dir)
        if folder.is_dir():
            self.mlflow.keep_videos(folder, f"{VIDEOS}/{folder.name}")

    @cached_property
    def _persons(self) -> "ClipSet":
        from model.clips.clip_set import ClipSet

        return ClipSet(self.job.clip_list, "validation")

    def _likeness(self, model: "FusedModel", manifest: "Manifest", folder: Path) -> Likeness | None:
        """A person whose picture shows the engine no face is drawn by no model, and does not count."""
        from model.encoding.face_processor import FaceError
        from model.release.pipeline import engine_named
        from model.training.held_out_videos import live_pipeline

        measured, failed = [], False
        engine = engine_named(manifest.face_engine.name)
        with live_pipeline(model, manifest, engine, self.job.drawing) as pipeline:
            for clip in self.job.held_out:
                try:
                    measured.append(self._draw_one(pipeline, clip, folder / f"{clip.clip_id}.mp4"))
                except FaceError as error:
                    LOGGER.warning("held-out clip %s judges no checkpoint: %s", clip.clip_id, error)
                except Exception as error:
                    failed = True
                    traceback.print_exc()
                    LOGGER.error("%s: no video of clip %s (%s: %s)", _named(manifest), clip.clip_id, type(error).__name__, error)
        return likeness_of(measured) if measured and not failed else None

    def _draw_one(self, pipeline: "LafidPipeline", clip: HeldOutClip, path: Path) -> MeasuredVideo:
        import numpy as np
        from PIL import Image

        from model.encoding.video_io import write_mp4
        from model.training.held_out_videos import Beginning, draw_held_out, measure_held_out

        def on_step(_done: int, _steps: int) -> None:
            if self.stop():
                raise _Stopping

        whole = np.asarray(Image.open(clip.first_frame).convert("RGB"))
        beginning = Beginning.of(whole, clip.bucket, clip.centre_xy_px)
        frames = draw_held_out(pipeline, beginning, clip.caption, on_step)
        write_mp4(path, frames, pipeline.fps)
        persons = self._persons
        reference = persons.identity(persons.clip_ids.index(clip.clip_id)).mean(dim=0).numpy()
        return measure_held_out(pipeline, frames, beginning, reference)


def judgement_line(manifest: "Manifest") -> str:
    """What the log says of a judged checkpoint."""
    line = f"{_named(manifest)}: validation loss {manifest.validation_loss:.4f} on {manifest.validated_on} clips"
    likeness = manifest.likeness
    if likeness is None:
        return f"{line}; likeness not measured"
    mean = "none" if likeness.mean is None else f"{likeness.mean:.4f}"
    return f"{line}; likeness {mean}, {likeness.frames_without_face} of {likeness.frames} frames without a face"


def _named(manifest: "Manifest") -> str:
    return f"step {manifest.step} of {manifest.preset.train.steps}{', moving average' if manifest.averaged else ''}"


def _videos(manifest: "Manifest", run_dir: Path) -> Path:
    from model.training.checkpoint_retention import name_of_step

    return run_dir / VIDEOS / f"{name_of_step(manifest.step)}{'-ema' if manifest.averaged else ''}"
