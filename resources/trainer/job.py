"""What passes between worker and trainer: the job that goes in, and how it ended.

Belongs here: those types and the file that carries the job. Not here: processes (`client`, `supervisor`), training (`child`).
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, TypeAdapter, model_validator

from model.clip_size import Bucket
from model.files import write_whole
from model.likeness import Likeness
from model.presets import Preset, Publish
from model.release.drawing_settings import AS_TRAINED, DrawingSettings
from model.strict import StrictModel

RUNS_FOLDER = "training_runs"
"""A folder of the store: all that trainers leave (states, checkpoints, videos, jobs), and the pictures that they were given."""
INTERRUPTED_EXIT = os.EX_TEMPFAIL
"""75, "temporary failure": the state is saved and the same job goes on from it."""


class HeldOutClip(StrictModel):
    """A clip of a person that is not trained on; every judged model draws it."""

    clip_id: str = Field(description="one of the cached clips of the validation split, which hold whom the video shall show")
    first_frame: Path = Field(description="PNG of the first frame of the clip's window, whole")
    bucket: Bucket = Field(description="the clip's own size")
    centre_xy_px: tuple[float, float] = Field(description="around which training cuts it")
    caption: str


class KeptIn(StrictModel):
    """A remote store, and the home whose cache has its copies."""

    store_uri: str
    home: Path


class TrainingJob(StrictModel):
    """All that a trainer is told. Every rank of every node reads the same file."""

    preset: Preset
    clip_list: Path = Field(description="the cached clips: the train split is trained on, the validation split judges")
    held_out: tuple[HeldOutClip, ...] = Field((), description="drawn by every judged model")
    drawing: DrawingSettings = Field(AS_TRAINED, description="how these videos are computed; the device is the training's")
    base_dir: Path = Field(description="the base they were encoded with")
    out_dir: Path = Field(description="where runs keep their states and checkpoints")
    kept_in: KeptIn | None = Field(None, description="the store that keeps runs for other machines; None: out_dir lies in it")
    dataset_version: str
    tracking_uri: str = Field(description="MLflow's tracking store")
    tracking_artifacts: Path = Field(description="where MLflow keeps artifacts when that store is a local one")
    tags: dict[str, str] = Field(description="of the MLflow run: where this training comes from")

    @model_validator(mode="after")
    def _draws_where_it_can(self) -> Self:
        train = self.preset.train
        if self.held_out and self.drawing.low_memory and (train.shard_base or train.offload_base):
            raise ValueError(
                "with train.shard_base or train.offload_base the base's blocks come to the GPU one at a time already, and it "
                "cannot come there whole when it is its turn: leave low_memory out of drawing, or set validation_clips to 0"
            )
        if self.held_out and self.drawing.precision == "float32" and train.rounds_base:
            raise ValueError(
                "a base that lies in bfloat16 while it trains cannot draw in float32: leave precision out of drawing, or set "
                "validation_clips to 0"
            )
        return self

    @property
    def key(self) -> str:
        """Names the training, whoever runs it and however often it is resumed: 16 hex digits over preset, clips and version."""
        facts = [self.preset.of_training(), self.clip_list.name, self.base_dir.name, self.dataset_version]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def folder(self) -> Path:
        """Where the job's own file and the trainer's output lie."""
        return self.out_dir / "launches" / self.key

    def write(self) -> Path:
        """Puts the job into its folder; an earlier one of the same key is replaced."""
        path = self.folder / "job.json"
        write_whole(path, self.model_dump_json(indent=2) + "\n")
        return path


class TrainedCheckpoint(StrictModel):
    """One of a training's checkpoints, and how it was judged."""

    folder: Path
    step: int
    loss_after: float
    validation_loss: float | None
    validated_on: str | None = Field(description="the split of the clips that judged")
    likeness: Likeness | None = Field(description="of the held-out persons that it drew")
    judged_by: Literal["likeness", "loss"] | None = Field(
        description="what decides whether it is the best; None: it is not judged"
    )


class Finished(StrictModel):
    """The checkpoints are there."""

    kind: Literal["finished"] = "finished"
    checkpoints: dict[Publish, TrainedCheckpoint] = Field(
        description="what can be published: the last, the best where any is judged, both of the average where there is one"
    )
    resumed_from: int
    loss_before: float
    clips_left_out: tuple[str, ...] = Field(description="of whose size there are fewer clips than a batch needs")
    videos_dir: Path | None = Field(description="videos of held-out persons by step; None: none was drawn")
    mlflow_run_id: str | None = Field(description="None from a rank that does not speak")
    metrics: dict[str, float] = Field(description="of the last report; none where the checkpoint was there already")


class Interrupted(StrictModel):
    """SIGTERM came; the state after `step` updates is saved."""

    kind: Literal["interrupted"] = "interrupted"
    step: int


class Failed(StrictModel):
    """The trainer raised; the message says what and, where it knows, the remedy."""

    kind: Literal["failed"] = "failed"
    message: str


Ending = Annotated[Finished | Interrupted | Failed, Field(discriminator="kind")]
ENDING: TypeAdapter[Finished | Interrupted | Failed] = TypeAdapter(Ending)
