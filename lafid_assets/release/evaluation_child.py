"""One task of an evaluation, done in a child process.

Belongs here: a case drawn and measured, a flow loss, a distance over all videos. Not here: what the tasks are and where their
results lie (`evaluation_tasks`), the processes (`evaluation`).
"""

import logging
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from lafid_assets.outcomes import Reason, Status
from lafid_assets.release.evaluation_tasks import (
    CaseTask,
    FidTask,
    Figure,
    LossTask,
    Measured,
    Subject,
    Task,
    features_path,
    measures_path,
    size_of,
    video_path,
)
from lafid_assets.speech.speaking_status import SpeechPolicy
from lafid_assets.workers.child import leave_no_semaphore
from model.bases.specs import FIRST_FRAME_LAYOUTS
from model.clip_size import Bucket
from model.evaluation.bench import BenchError, Case
from model.evaluation.measures.networks import Networks
from model.evaluation.measures.record import Absent, CaseVideo
from model.evaluation.similarity import measure_frames
from model.files import whole_file, write_whole
from model.model_store.location import models_folder
from model.model_store.store import ModelStore

if TYPE_CHECKING:
    from model.face_engine.interface import FaceEngine, Image
    from model.release.pipeline import LafidPipeline
    from model.training.held_out_videos import Beginning

LOGGER = logging.getLogger("lafid.release")
_EQUAL_DB = 99.0
"""What equal frames count: their fidelity is infinite."""


def do(subject: Subject, task: Task) -> Figure | Measured:
    """Does a task and keeps the result; the model is loaded once for all tasks of a process. A case's fault is its result, and
    what another try may mend is not kept.
    """
    result: Figure | Measured
    if isinstance(task, CaseTask):
        result = _case(subject, task)
    elif isinstance(task, LossTask):
        result = _flow_loss(subject, task)
    else:
        assert isinstance(task, FidTask)
        result = _fid(subject, task)
    if not (isinstance(result, Measured) and result.status == Status.ERROR):
        write_whole(measures_path(subject, task), result.model_dump_json())
    return result


def _flow_loss(subject: Subject, task: LossTask) -> Figure:
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
        return Figure(key=task.key, value=fixed_flow_loss(model, clips, pipeline.manifest.preset))


def _case(subject: Subject, task: CaseTask) -> Measured:
    from model.encoding.face_processor import FaceError, PoseUnknown

    try:
        _engine(subject)  # what cannot be measured is not drawn for hours
        return _measured(subject, task, _drawn(subject, task))
    except FaceError as error:
        reason = Reason.POSE_UNKNOWN if isinstance(error, PoseUnknown) else Reason.NO_FACE
        told = f"its first frame cannot condition a video: {error}"
        return Measured(key=task.key, status=Status.REJECTED, reason=reason, detail=told)
    except BenchError as error:
        return Measured(key=task.key, status=Status.ERROR, reason=Reason.UNREADABLE, detail=str(error))


def _drawn(subject: Subject, task: CaseTask) -> "Beginning":
    """Draws the case, unless its video is there; what the video begins with."""
    from model.encoding.video_io import write_mp4
    from model.training.held_out_videos import Beginning, draw_held_out

    pipeline, case, path = _pipeline(subject), task.case, video_path(subject, task)
    beginning = Beginning.of(subject.picture(case.first_frame), size_of(case, pipeline.manifest.preset.clip), case.centre_xy_px)
    if not path.is_file():
        photos = _photos(subject, case)
        frames = draw_held_out(pipeline, beginning, case.prompt, photos=photos, seed=case.seed, steps=subject.steps)
        write_mp4(path, frames, pipeline.fps)
    return beginning


def _photos(subject: Subject, case: Case) -> "list[Image]":
    """What the model is given of the person beside the first frame: nothing where it is given that and has no references. A photo
    in which it finds no face that it can use is left out."""
    from PIL import Image as PilImage

    from model.encoding.face_processor import FaceError

    pipeline = _pipeline(subject)
    if pipeline.manifest.preset.fusion.references is None and pipeline.manifest.base.layout in FIRST_FRAME_LAYOUTS:
        return []
    usable = []
    for path in case.photos:
        photo = subject.picture(path)
        try:
            pipeline.face(PilImage.fromarray(photo), "largest")
        except FaceError as error:
            LOGGER.info("case %s is drawn without %s: %s", case.case_id, path, error)
        else:
            usable.append(photo)
    return usable


def _measured(subject: Subject, task: CaseTask, beginning: "Beginning") -> Measured:
    """What the video shows, read from its file: whoever measures it again has no more."""
    from model.encoding.video_io import read_frames
    from model.evaluation.measures.catalogue import all_of
    from model.training.metrics import psnr

    pipeline, case, bench, engine = _pipeline(subject), task.case, subject.bench, _engine(subject)
    # In the middle of each frame's time, where rounding cannot show its neighbour.
    times_s = [(index + 0.5) / pipeline.fps for index in range(beginning.frames)]
    frames = read_frames(video_path(subject, task), times_s)
    begins_given, person = pipeline.manifest.base.layout in FIRST_FRAME_LAYOUTS, bench.person(case.identity_id)
    faces = measure_frames(frames[int(begins_given) :], person, beginning.whole, engine, bench.bounds)
    policy, mouth = SpeechPolicy(), engine.info.mouth
    video = CaseVideo(
        frames=frames,
        begins_given=begins_given,
        fps=pipeline.fps,
        prompt=case.prompt,
        reference=beginning.whole,
        networks=_networks(subject),
        person=person,
        faces=faces,
        speaking_status=case.speaking_status,
        lip_borders=None if mouth is None else (policy.still_max_range[mouth], policy.moving_min_range[mouth]),
    )
    taken = all_of(video)
    if taken.features is not None:
        with whole_file(features_path(subject, task)) as temporary:
            np.save(temporary, taken.features, allow_pickle=False)
    return Measured(
        key=task.key,
        size=Bucket(len(frames), *frames.shape[1:3]),
        fps=pipeline.fps,
        # Measures have read the embeddings: keeping them would be a megabyte a video, and somebody's biometry.
        faces=tuple(None if face is None else replace(face, embedding=()) for face in faces),
        first_drawn=int(begins_given),
        first_frame_psnr_db=min(psnr(frames[0], beginning.cut), _EQUAL_DB) if begins_given else None,
        measures=dict(taken.values),
        absent=taken.absent,
    )


def _fid(subject: Subject, task: FidTask) -> Figure:
    from model.evaluation.measures.catalogue import finite
    from model.evaluation.measures.fid import fid, picture_features

    gallery = [face.path for person in subject.bench.persons for face in person.gallery]
    try:
        real = picture_features([subject.picture(path) for path in gallery], _networks(subject))
        drawn = [np.load(features_path(subject, video), allow_pickle=False) for video in task.videos]
        return Figure(key=task.key, value=finite(fid(drawn, real)))
    except Absent as reason:
        return Figure(key=task.key, absent=str(reason))


@cache
def _networks(subject: Subject) -> Networks:
    from model.bases.base import pick_device

    return Networks(ModelStore(models_folder()), pick_device(subject.drawing.device))


@cache
def _pipeline(subject: Subject) -> "LafidPipeline":
    from model.release.pipeline import load

    leave_no_semaphore()
    return load(subject.checkpoint_dir, subject.base_dir, subject.drawing)


@cache
def _engine(subject: Subject) -> "FaceEngine":
    """The bench's, which is often the model's, too."""
    from model.release.pipeline import engine_named

    own, wanted = _pipeline(subject).engine, subject.bench.engine
    engine = own if own.info.name == wanted.name else engine_named(wanted.name)
    if engine.info.fingerprint != wanted.fingerprint:
        LOGGER.warning(
            "the bench was measured by %s %s, its videos are by %s: similarities may differ by rounding and by another head pose",
            *(wanted.name, wanted.version, engine.info.version),
        )
    return engine
