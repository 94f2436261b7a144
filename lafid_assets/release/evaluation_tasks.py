"""What an evaluation is made of: cases of a bench to draw and measure, and figures over a split or over all videos.

Belongs here: the tasks, their results, and where these are kept so that nothing is done twice. Not here: doing one
(`evaluation_child`), the processes and the tables (`evaluation`).

A video and its measures are kept apart, each under the hash of all that decides it: what a video is measured against may change,
and it need not be drawn again.
"""

import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from lafid_assets.outcomes import Reason, Status
from model.clip_size import Bucket, ClipSize
from model.evaluation.bench import Bench, BenchError, Case, read_bench, read_bench_picture
from model.evaluation.measures.networks import networks_fingerprint
from model.evaluation.similarity import FrameFace
from model.face_engine.interface import Image
from model.files import sha256_file
from model.model_store.location import models_folder
from model.model_store.store import ModelStore
from model.release.drawing_settings import DrawingSettings

FOLDER = "evaluations"
"""A folder for each checkpoint and way of drawing, in it a video and a file of measures for each case."""
FID = "fid"
_DRAWN, _MEASURED = 1, 1
"""Raise one when the same case is to be drawn, or the same video to be measured, otherwise."""


@dataclass(frozen=True)
class Subject:
    """The model that is evaluated, and how it draws.

    Attributes:
        root: what is kept lies in its `FOLDER`, and paths of videos are relative to it.
        bench_dir: the bench; None: only losses are measured.
        clip_list: the cached clips; None: no loss is measured.
        steps: of denoising.
    """

    checkpoint_sha256: str
    checkpoint_dir: Path
    base_dir: Path
    root: Path
    bench_dir: Path | None
    clip_list: Path | None
    drawing: DrawingSettings
    steps: int

    @property
    def folder(self) -> str:
        """Folder, below the root, of what is kept of this subject."""
        settings = self.drawing.model_dump(mode="json", exclude={"device", "semantic_dir"})
        return f"{FOLDER}/{self.checkpoint_sha256[:16]}-{_digest([settings, self.steps])[:8]}"

    @property
    def bench(self) -> Bench:
        """The bench, read from its folder."""
        return _bench(self._bench_dir)

    def picture(self, path: str) -> Image:
        """One of the bench's pictures."""
        return read_bench_picture(self._bench_dir, path)

    @property
    def _bench_dir(self) -> Path:
        assert self.bench_dir is not None
        return self.bench_dir


@dataclass(frozen=True)
class Task:
    """What one child does.

    Attributes:
        name: of the files of its result.
        key: over all that decides the result, beside checkpoint and drawing.
    """

    name: str
    key: str


@dataclass(frozen=True)
class LossTask(Task):
    """The flow loss on a split's cached clips."""

    split: str


@dataclass(frozen=True)
class CaseTask(Task):
    """A case to draw and to measure."""

    case: Case
    video_name: str
    """Begins with the clip's id, by which `lafid forget` finds it."""


@dataclass(frozen=True)
class FidTask(Task):
    """The distance of all drawn faces to the bench's pictures."""

    videos: tuple[CaseTask, ...]


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    key: str


class Figure(_Kept):
    """The result of a `LossTask` or a `FidTask`."""

    value: float | None = None
    absent: str | None = None
    """Why there is no value."""


class Measured(_Kept):
    """Of a `CaseTask`; without faces where the case allowed no video."""

    size: Bucket | None = None
    faces: tuple[FrameFace | None, ...] = ()
    """Of the frames that were drawn: without a first one that was given."""
    first_drawn: int = 0
    """The index of the first of them in the video."""
    first_frame_psnr_db: float | None = None
    measures: dict[str, float | None] = {}
    absent: dict[str, str] = {}
    """Measure to why it could not be taken; under `fid`, why `features_path` holds nothing of the video."""
    fps: float = 0.0
    status: Status = Status.OK
    reason: Reason | None = None
    detail: str | None = None

    @property
    def video_s(self) -> float:
        """Seconds from the video's first frame to its last."""
        return 0.0 if self.size is None else (self.size.frames - 1) / self.fps


Kept = TypeVar("Kept", Figure, Measured)


def loss_task(subject: Subject, split: str) -> LossTask:
    """The task of a split's cached clips."""
    key = _digest([None if subject.clip_list is None else subject.clip_list.name, split])
    return LossTask(f"flow_loss_{split}", key, split)


def case_tasks(bench: Bench, bench_dir: Path, cases: Sequence[Case]) -> list[CaseTask]:
    """The tasks of these cases, in their order. What other cases of the bench are changes nothing.

    Raises:
        BenchError: a picture is missing.
    """
    measured_by = [_MEASURED, bench.engine.model_dump(), {name: found.model_dump() for name, found in bench.bounds.items()}]
    measured_by.append(networks_fingerprint(ModelStore(models_folder())))
    tasks = []
    for case in cases:
        try:
            pictures = [sha256_file(bench_dir / path) for path in (case.first_frame, *case.photos)]
        except FileNotFoundError as error:
            raise BenchError(f"{bench_dir} lacks {error.filename}: copy the bench again") from error
        shape = [case.prompt, case.seed, case.centre_xy_px, case.width, case.height, case.duration_s]
        drawn = _digest([_DRAWN, *shape, pictures])
        measured = _digest([drawn, bench.person(case.identity_id).model_dump(), case.speaking_status, *measured_by])
        clip = plain_name(case.clip_id)
        tasks.append(CaseTask(f"{clip}.{measured[:16]}", measured, case, f"{clip}.{drawn[:16]}.mp4"))
    return tasks


def fid_task(bench: Bench, videos: Sequence[CaseTask]) -> FidTask:
    """The task over these videos."""
    return FidTask(f"fid_{bench.version}", _digest([bench.version, sorted(video.key for video in videos)]), tuple(videos))


def kept(subject: Subject, task: Task) -> Figure | Measured | None:
    """What an earlier run has made of the task; None: it is still to be done."""
    if not isinstance(task, CaseTask):
        return _read(Figure, subject, task)
    found = _read(Measured, subject, task)
    if found is None or found.size is None:
        return found
    whole = video_path(subject, task).is_file() and (FID in found.absent or features_path(subject, task).is_file())
    return found if whole else None


def video_path(subject: Subject, task: CaseTask) -> Path:
    """The mp4 of a case that was drawn."""
    return subject.root / subject.folder / task.video_name


def measures_path(subject: Subject, task: Task) -> Path:
    """The file of a task's measures."""
    return subject.root / subject.folder / f"{task.name}.json"


def features_path(subject: Subject, task: CaseTask) -> Path:
    """The file of the features that measures over all videos read."""
    return subject.root / subject.folder / f"{task.name}.npy"


def plain_name(name: str) -> str:
    """The beginning of a clip's file names. A bench may come from anywhere: no name leads out of the folder."""
    return re.sub(r"[^0-9A-Za-z_-]", "_", name)


def size_of(case: Case, size: ClipSize) -> Bucket:
    """The model's own size for a case, as training would place its clip; the shortest one where the clip is too short for it."""
    shortest = min(size.window_s(bucket) for bucket in size.buckets)
    bucket = size.bucket_for(max(case.duration_s, math.nextafter(shortest, math.inf)), case.height, case.width)
    assert bucket is not None
    return bucket


@cache
def _bench(folder: Path) -> Bench:
    return read_bench(folder)


def _read(kind: type[Kept], subject: Subject, task: Task) -> Kept | None:
    try:
        found = kind.model_validate_json(measures_path(subject, task).read_bytes())
    except (FileNotFoundError, ValidationError):  # never done, or by another version
        return None
    return found if found.key == task.key else None


def _digest(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
