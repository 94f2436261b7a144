"""One task of an evaluation, done in a child process: a case of the bench drawn and measured, or the flow loss of a split.

Belongs here: the tasks, doing them, and what is kept on disk so that nothing is done twice. Not here: which cases (`cases`), the
processes (`evaluation`), and what becomes of the measures (`evaluation_rows`).

A video and its measures are kept apart, each under the hash of all that decides it: what a video is measured against may change
without its being drawn again.
"""

import hashlib
import json
import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from lafid_assets.outcomes import Reason, Status
from model.bases.specs import FIRST_FRAME_LAYOUTS
from model.clip_size import Bucket, ClipSize
from model.evaluation.bench import Bench, BenchError, Case, MeasuringEngine, read_bench, read_bench_picture
from model.evaluation.similarity import FrameFace, measure_frames
from model.files import sha256_file, whole_file
from model.release.drawing_settings import DrawingSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from model.face_engine.interface import FaceEngine
    from model.release.pipeline import LafidPipeline
    from model.training.held_out_videos import Beginning

LOGGER = logging.getLogger("lafid.release")
FOLDER = "evaluations"
"""A folder for each checkpoint and way of drawing, in it a video and a file of measures for each case."""
_DRAWN, _MEASURED = 1, 1
"""Raise one when the same case is to be drawn, or the same video to be measured, otherwise."""
_EQUAL_DB = 99.0
"""What equal frames count: their fidelity is infinite."""


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
        """Of what is kept, below the root."""
        settings = self.drawing.model_dump(mode="json", exclude={"device", "semantic_dir"})
        return f"{FOLDER}/{self.checkpoint_sha256[:16]}-{_digest([settings, self.steps])[:8]}"


@dataclass(frozen=True)
class LossTask:
    """The flow loss on a split's cached clips."""

    split: str

    @property
    def name(self) -> str:
        """Of its file."""
        return f"flow_loss_{self.split}"

    def key(self, subject: Subject) -> str:
        """Over all that decides the result, beside checkpoint and drawing."""
        return _digest([None if subject.clip_list is None else subject.clip_list.name, self.split])


@dataclass(frozen=True)
class CaseTask:
    """A case to draw and to measure.

    Attributes:
        drawn_key: over all that decides the video, beside checkpoint and drawing.
        measured_key: over all that decides its measures, the video included.
    """

    case: Case
    drawn_key: str
    measured_key: str

    @property
    def video_name(self) -> str:
        """Begins with the clip's id, by which `lafid forget` finds it."""
        return f"{plain_name(self.case.clip_id)}.{self.drawn_key[:16]}.mp4"

    @property
    def name(self) -> str:
        """Of its file of measures."""
        return f"{plain_name(self.case.clip_id)}.{self.measured_key[:16]}"

    def key(self, _: Subject) -> str:
        """Over all that decides the result, beside checkpoint and drawing."""
        return self.measured_key


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    key: str


class Loss(_Kept):
    """Of a `LossTask`."""

    value: float


class Measured(_Kept):
    """Of a `CaseTask`; without faces where the case allowed no video."""

    size: Bucket | None = None
    faces: tuple[FrameFace | None, ...] = ()
    """Of the frames that were drawn: without a first one that was given."""
    first_drawn: int = 0
    """The index of the first of them in the video."""
    first_frame_psnr_db: float | None = None
    measures: dict[str, float] = {}
    absent: dict[str, str] = {}
    """Measure to why it could not be taken."""
    fps: float = 0.0
    status: Status = Status.OK
    reason: Reason | None = None
    detail: str | None = None

    @property
    def video_s(self) -> float:
        """Seconds from the video's first frame to its last."""
        return 0.0 if self.size is None else (self.size.frames - 1) / self.fps


Kept = TypeVar("Kept", Loss, Measured)


def case_tasks(bench: Bench, bench_dir: Path, cases: Sequence[Case]) -> list[CaseTask]:
    """The tasks of these cases, in their order. What other cases of the bench are changes nothing.

    Raises:
        BenchError: a picture is missing.
    """
    measured_by = [_MEASURED, bench.engine.model_dump(), {name: found.model_dump() for name, found in bench.bounds.items()}]
    tasks = []
    for case in cases:
        try:
            pictures = [sha256_file(bench_dir / path) for path in (case.first_frame, *case.photos)]
        except FileNotFoundError as error:
            raise BenchError(f"{bench_dir} lacks {error.filename}: copy the bench again") from error
        shape = [case.prompt, case.seed, case.centre_xy_px, case.width, case.height, case.duration_s]
        drawn_key = _digest([_DRAWN, *shape, pictures])
        against = [drawn_key, bench.person(case.identity_id).model_dump(), case.speaking_status, *measured_by]
        tasks.append(CaseTask(case, drawn_key, _digest(against)))
    return tasks


def kept(subject: Subject, task: LossTask | CaseTask) -> Loss | Measured | None:
    """What an earlier run has made of the task; None: it is still to be done."""
    if isinstance(task, LossTask):
        return _read(Loss, subject, task)
    found = _read(Measured, subject, task)
    return found if found is None or found.size is None or video_path(subject, task).is_file() else None


def do(subject: Subject, task: LossTask | CaseTask) -> Loss | Measured:
    """Does a task and keeps the result; the model is loaded once for all tasks of a process. A case's fault is its result, and
    what another try may mend is not kept.
    """
    result = _flow_loss(subject, task) if isinstance(task, LossTask) else _case(subject, task)
    if not (isinstance(result, Measured) and result.status == Status.ERROR):
        with whole_file(_measures_path(subject, task)) as temporary:
            temporary.write_text(result.model_dump_json())
    return result


def video_path(subject: Subject, task: CaseTask) -> Path:
    """The mp4 of a case that was drawn."""
    return subject.root / subject.folder / task.video_name


def features_path(subject: Subject, task: CaseTask) -> Path:
    """What measures of all videos together read of this one."""
    return subject.root / subject.folder / f"{task.name}.npz"


def plain_name(name: str) -> str:
    """With which files of a clip begin. A bench may come from anywhere: no name leads out of the folder."""
    return re.sub(r"[^0-9A-Za-z_-]", "_", name)


def size_of(case: Case, size: ClipSize) -> Bucket:
    """The model's own size for a case: as training would place its clip, and the shortest where that covers not even it."""
    shortest = min(size.window_s(bucket) for bucket in size.buckets)
    bucket = size.bucket_for(max(case.duration_s, math.nextafter(shortest, math.inf)), case.height, case.width)
    assert bucket is not None
    return bucket


def _flow_loss(subject: Subject, task: LossTask) -> Loss:
    from model.clips.clip_list import DataError
    from model.clips.clip_set import ClipSet
    from model.training.metrics import fixed_flow_loss

    assert subject.clip_list is not None
    pipeline = _pipeline(subject)
    clips = ClipSet(subject.clip_list, task.split)
    if clips.meta.encoders_fingerprint != pipeline.manifest.encoders_fingerprint:
        raise DataError(
            f"the clips are precomputed with other encoders than the checkpoint was trained on: run `lafid precompute --preset "
            f"{pipeline.manifest.preset.name}`, or train anew"
        )
    with pipeline.in_place() as model:
        return Loss(key=task.key(subject), value=fixed_flow_loss(model, clips, pipeline.manifest.preset))


def _case(subject: Subject, task: CaseTask) -> Measured:
    from model.encoding.face_processor import FaceError, PoseUnknown

    try:
        return _measured(subject, task, _drawn(subject, task))
    except FaceError as error:
        reason = Reason.POSE_UNKNOWN if isinstance(error, PoseUnknown) else Reason.NO_FACE
        told = f"its first frame cannot condition a video: {error}"
        return Measured(key=task.measured_key, status=Status.REJECTED, reason=reason, detail=told)
    except BenchError as error:
        return Measured(key=task.measured_key, status=Status.ERROR, reason=Reason.UNREADABLE, detail=str(error))


def _drawn(subject: Subject, task: CaseTask) -> "Beginning":
    """Draws the case, unless its video is there; what the video begins with."""
    from model.encoding.video_io import write_mp4
    from model.training.held_out_videos import Beginning, draw_held_out

    pipeline, case, path = _pipeline(subject), task.case, video_path(subject, task)
    bucket = size_of(case, pipeline.manifest.preset.clip)
    beginning = Beginning.of(read_bench_picture(_bench_dir(subject), case.first_frame), bucket, case.centre_xy_px)
    if not path.is_file():
        photos = _photos(subject, case)
        frames = draw_held_out(pipeline, beginning, case.prompt, photos=photos, seed=case.seed, steps=subject.steps)
        write_mp4(path, frames, pipeline.fps)
    return beginning


def _photos(subject: Subject, case: Case) -> list["NDArray[np.uint8]"]:
    """What the model is given of the person beside the first frame: nothing where it is given that and has no references. A photo
    in which it finds no face that it can use is left out."""
    from PIL import Image

    from model.encoding.face_processor import FaceError

    pipeline = _pipeline(subject)
    if pipeline.manifest.preset.fusion.references is None and pipeline.manifest.base.layout in FIRST_FRAME_LAYOUTS:
        return []
    usable = []
    for path in case.photos:
        photo = read_bench_picture(_bench_dir(subject), path)
        try:
            pipeline.face(Image.fromarray(photo), "largest")
        except FaceError as error:
            LOGGER.info("case %s is drawn without %s: %s", case.case_id, path, error)
        else:
            usable.append(photo)
    return usable


def _measured(subject: Subject, task: CaseTask, beginning: "Beginning") -> Measured:
    """What the video shows, read from its file: whoever measures it again has no more."""
    from model.encoding.video_io import read_frames
    from model.training.metrics import psnr

    pipeline, case, bench = _pipeline(subject), task.case, _bench(_bench_dir(subject))
    # In the middle of each frame's time, where rounding cannot show its neighbour.
    times_s = [(index + 0.5) / pipeline.fps for index in range(beginning.frames)]
    frames = read_frames(video_path(subject, task), times_s)
    begins_with_it = pipeline.manifest.base.layout in FIRST_FRAME_LAYOUTS
    drawn = frames[1:] if begins_with_it else frames
    person, engine = bench.person(case.identity_id), _engine(subject, bench.engine)
    faces = measure_frames(drawn, person, beginning.whole, engine, bench.bounds)
    return Measured(
        key=task.measured_key,
        size=Bucket(len(frames), *frames.shape[1:3]),
        fps=pipeline.fps,
        faces=tuple(faces),
        first_drawn=len(frames) - len(drawn),
        first_frame_psnr_db=min(psnr(frames[0], beginning.cut), _EQUAL_DB) if begins_with_it else None,
    )


@cache
def _pipeline(subject: Subject) -> "LafidPipeline":
    from model.release.pipeline import load

    return load(subject.checkpoint_dir, subject.base_dir, subject.drawing)


@cache
def _bench(folder: Path) -> Bench:
    return read_bench(folder)


@cache
def _engine(subject: Subject, wanted: MeasuringEngine) -> "FaceEngine":
    """The bench's, which is often the model's, too."""
    from model.release.pipeline import engine_named

    own = _pipeline(subject).engine
    engine = own if own.info.name == wanted.name else engine_named(wanted.name)
    if engine.info.fingerprint != wanted.fingerprint:
        LOGGER.warning(
            "the bench was measured by %s %s, its videos are by %s: similarities may differ by rounding and by another head pose",
            *(wanted.name, wanted.version, engine.info.version),
        )
    return engine


def _bench_dir(subject: Subject) -> Path:
    assert subject.bench_dir is not None
    return subject.bench_dir


def _measures_path(subject: Subject, task: LossTask | CaseTask) -> Path:
    return subject.root / subject.folder / f"{task.name}.json"


def _read(kind: type[Kept], subject: Subject, task: LossTask | CaseTask) -> Kept | None:
    try:
        found = kind.model_validate_json(_measures_path(subject, task).read_bytes())
    except (FileNotFoundError, ValidationError):  # never done, or by another version
        return None
    return found if found.key == task.key(subject) else None


def _digest(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
