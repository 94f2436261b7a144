"""A model's measures on persons that it never saw.

Belongs here: the processes that draw and measure cases of a bench and cached splits, and the rows of the three tables that come
of it. Not here: a single task (`evaluation_tasks`, `evaluation_child`), which model (`model_files`, `champion`), comparing two
(`comparison`), what is enough (`gates`).
"""

import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import polars as pl

from lafid_assets.outcomes import Status
from lafid_assets.progress import track
from lafid_assets.release.evaluation_child import do
from lafid_assets.release.evaluation_tasks import (
    FID,
    CaseTask,
    Figure,
    Measured,
    Subject,
    Task,
    case_tasks,
    fid_task,
    kept,
    loss_task,
    video_path,
)
from lafid_assets.schemas.evaluation import EVALUATED_FRAMES, EVALUATED_VIDEOS, MEASURES, MODEL_EVALUATION
from lafid_assets.training.balanced_choice import Candidate, take_turns
from lafid_assets.workers.exit_reasons import Fault, fault_of
from lafid_assets.workers.pool import Children, Done, map_isolated
from model.clip_size import Bucket
from model.evaluation.bench import Bench, Case
from model.evaluation.similarity import by_bins, faces_found_share, pose_binned
from model.evaluation.statistics import Interval, bootstrap_interval
from model.face_engine.onnx_session import cuda_devices
from model.likeness import expression_bin, yaw_bin
from resources.cores import usable_cores
from resources.gpu import gpu_environments

LOGGER = logging.getLogger("lafid.release")
HELD_OUT = ("validation", "test")
THREADS = "OMP_NUM_THREADS"
PER_VIDEO = (
    "first_frame_psnr_db",
    "pose_binned_similarity",
    "likeness",
    "faces_found_share",
    *(column.name for column in MEASURES),
)
"""Measures of which each video has a value of its own."""
_OF_FRAMES = ("likeness", "faces_found_share", "pose_binned_similarity")
"""Those of them whose drawn frames are counted."""
_PER_FRAME = ("yaw_deg", "pitch_deg", "similarity", "score", "gallery_index", "pose_gap_deg")

Result = Figure | Measured | Fault
Row = dict[str, Any]
Frames = dict[str, pl.DataFrame]


class EvaluationFailed(RuntimeError):
    """Nothing could be measured; the message says why."""


def choose_cases(bench: Bench, most: int | None) -> list[Case]:
    """Cases of a bench, all of them unless `most` says less: then persons take turns, and poses. More cases add to fewer."""
    if most is None:
        return list(bench.cases)
    known = {case.case_id: case for case in bench.cases}
    candidates = [
        Candidate(case.case_id, case.identity_id, (case.yaw_bin, case.expression_bin, case.speaking_status))
        for case in bench.cases
    ]
    return [known[chosen.clip_id] for chosen in take_turns(candidates, most)]


def evaluate(
    subject: Subject,
    bench: Bench | None,
    cases: Sequence[Case],
    cached: Mapping[str, int],
    deadline_s: float,
    processes: int | None = None,
    *,
    keep: Callable[[], None] = lambda: None,
) -> Frames:
    """What a model draws of the cases, measured, and its flow loss on the cached clips.

    What an earlier run has done for this checkpoint is not done again. A case or a loss that fails costs no other its result. A
    base that cannot be given a first frame is given the person's photos.

    Args:
        bench: that the cases are of; None: there is none, and only losses are measured.
        cached: how many clips of a split are cached, for those that exist.
        deadline_s: what one case may take.
        processes: that draw at a time; None: one a GPU, or one where there is none.
        keep: called whenever something more lies in the subject's folder.

    Returns:
        rows of `model_evaluation`, `evaluated_videos` and `evaluated_frames`.

    Raises:
        BenchError: the bench lacks a picture.
        EvaluationFailed: every case failed, or every loss where no case is drawn.
    """
    losses, tasks = _tasks(subject, bench, cases, cached)
    results = _results(subject, [*losses.values(), *tasks], deadline_s=deadline_s, processes=processes, keep=keep)
    _require_some(results[len(losses) :] or results)
    figures = dict(zip(losses, map(_figure, results), strict=False))
    unknown = Figure(key="", absent="no clip of the split is cached")
    measures = [_loss(subject, split, figures.get(split, unknown), clips) for split, clips in cached.items()]
    videos: list[Row] = []
    frames: list[Row] = []
    if bench is not None:
        found = [(task, end) for task, end in zip(tasks, results[len(losses) :], strict=True) if not isinstance(end, Figure)]
        videos = [_video(subject, bench, task, end) for task, end in found]
        measured = [(task, end) for task, end in found if isinstance(end, Measured)]
        frames = [row for task, end in measured for row in _frames(subject, bench, task, end)]
        drawn = [(task, end) for task, end in measured if end.size is not None]
        fid = _fid(bench, drawn, partial(_results, subject, deadline_s=deadline_s, processes=1, keep=keep))
        measures += _summary(subject, bench, videos, drawn, fid)
    return {
        MODEL_EVALUATION.name: MODEL_EVALUATION.frame(measures),
        EVALUATED_VIDEOS.name: EVALUATED_VIDEOS.frame(videos),
        EVALUATED_FRAMES.name: EVALUATED_FRAMES.frame(frames),
    }


def draw(
    subject: Subject,
    bench: Bench | None,
    cases: Sequence[Case],
    cached: Mapping[str, int],
    deadline_s: float,
    processes: int | None = None,
    *,
    keep: Callable[[], None] = lambda: None,
) -> int:
    """The part of `evaluate` that takes long, and that several may share: videos and losses, which are kept.

    Returns:
        how many failed: `evaluate` tries them again.

    Raises:
        as `evaluate`.
    """
    losses, tasks = _tasks(subject, bench, cases, cached)
    results = _results(subject, [*losses.values(), *tasks], deadline_s=deadline_s, processes=processes, keep=keep)
    return _require_some(results)


def is_kept(subject: Subject, bench: Bench, cases: Sequence[Case], cached: Mapping[str, int]) -> bool:
    """Whether all that `evaluate` makes was made before: then it asks for none of the model's files."""
    losses, videos = _tasks(subject, bench, cases, cached)
    return all(kept(subject, task) is not None for task in [*losses.values(), *videos])


def target_yaws_deg(case: Case, video_s: float) -> tuple[float, ...]:
    """Where the real clip's face turned in as many seconds as a video lasts."""
    if video_s >= case.duration_s:
        return case.target_yaw_deg
    return case.target_yaw_deg[: max(1, math.ceil(len(case.target_yaw_deg) * video_s / case.duration_s))]


def _tasks(
    subject: Subject, bench: Bench | None, cases: Sequence[Case], cached: Mapping[str, int]
) -> tuple[dict[str, Task], list[CaseTask]]:
    losses: dict[str, Task] = {split: loss_task(subject, split) for split, clips in cached.items() if clips}
    return losses, [] if bench is None or subject.bench_dir is None else case_tasks(bench, subject.bench_dir, cases)


def _fid(bench: Bench, drawn: Sequence[tuple[CaseTask, Measured]], run: Callable[[Sequence[Task]], list[Result]]) -> Figure:
    """After all videos; no process is begun for it where it cannot be had."""
    if not drawn:
        return Figure(key="", absent="no case was drawn")
    for task, found in drawn:
        if FID in found.absent:
            return Figure(key="", absent=f"case {task.case.case_id}: {found.absent[FID]}")
    [result] = run([fid_task(bench, [task for task, _ in drawn])])
    return _figure(result)


def _figure(result: Result) -> Figure:
    return result if isinstance(result, Figure) else Figure(key="", absent=f"{result.reason}: {result.detail}")


def _results(
    subject: Subject, tasks: Sequence[Task], *, deadline_s: float, processes: int | None, keep: Callable[[], None]
) -> list[Result]:
    results: list[Result | None] = [kept(subject, task) for task in tasks]
    missing = [index for index, result in enumerate(results) if result is None]
    if len(missing) < len(tasks):
        LOGGER.info("evaluation: %d of %d tasks were done before", len(tasks) - len(missing), len(tasks))
    environments = _environments(subject, processes)
    children = Children(len(environments), environments)
    asked = [tasks[index] for index in missing]
    endings = map_isolated(partial(do, subject), asked, lambda _: deadline_s, children)
    for number, ending in track(endings, "evaluation", len(missing)):
        results[missing[number]] = ending.value if isinstance(ending, Done) else fault_of(ending)
        keep()
    return [result for result in results if result is not None]


def _environments(subject: Subject, processes: int | None) -> list[dict[str, str]]:
    """Of each child: where nobody names a device each sees a GPU of its own. They share the cores."""
    count = cuda_devices() if subject.drawing.device is None else 0
    children: list[dict[str, str]] = gpu_environments(count)[:processes] or [{}] * (processes or 1)
    threads = os.environ.get(THREADS) or str(max(1, usable_cores() // len(children)))
    return [child | {THREADS: threads} for child in children]


def _require_some(results: Sequence[Result]) -> int:
    """Refuse results that all failed; how many failed."""
    failed = [result for result in results if not isinstance(result, Figure) and result.status in (Status.ERROR, Status.TIMEOUT)]
    if failed and len(failed) == len(results):
        raise EvaluationFailed(f"all {len(failed)} tasks failed, the first: {failed[0].detail}")
    return len(failed)


def _known(subject: Subject, bench: Bench, case: Case) -> Row:
    known = {"checkpoint_sha256": subject.checkpoint_sha256, "bench_version": bench.version}
    return known | {"case_id": case.case_id, "seed": case.seed}


def _video(subject: Subject, bench: Bench, task: CaseTask, result: Measured | Fault) -> Row:
    case = task.case
    measures: dict[str, float | None] = dict.fromkeys(PER_VIDEO)
    shape: Row = dict.fromkeys((*Bucket._fields, "fps", "video_path"))
    if isinstance(result, Fault) or result.size is None:
        absent = dict.fromkeys(PER_VIDEO, f"{result.reason}: {result.detail}")
    else:
        shape = {**result.size._asdict(), "fps": result.fps}
        shape["video_path"] = video_path(subject, task).relative_to(subject.root).as_posix()
        binned = pose_binned(result.faces, target_yaws_deg(case, result.video_s), bench.bounds)
        found = [face.similarity for face in result.faces if face is not None]
        measures |= result.measures | {
            "first_frame_psnr_db": result.first_frame_psnr_db,
            "pose_binned_similarity": binned.value,
            "likeness": sum(found) / len(result.faces) if found else None,
            "faces_found_share": faces_found_share(result.faces),
        }
        reasons = {
            "first_frame_psnr_db": "the base is given no first frame",
            "pose_binned_similarity": binned.reason,
            "likeness": "no drawn frame shows a face",
            "faces_found_share": "no frame was drawn",
        } | result.absent
        absent = {name: str(reasons.get(name) or "it was not taken") for name, value in measures.items() if value is None}
    return {
        **_known(subject, bench, case),
        "clip_id": case.clip_id,
        "identity_id": case.identity_id,
        "steps": subject.steps,
        "yaw_bin": case.yaw_bin,
        "expression_bin": case.expression_bin,
        "speaking_status": case.speaking_status,
        **shape,
        **measures,
        "absent": [{"measure": name, "reason": reason} for name, reason in absent.items()],
        "status": result.status,
        "reason": result.reason,
        "detail": result.detail,
    }


def _frames(subject: Subject, bench: Bench, task: CaseTask, result: Measured) -> list[Row]:
    rows = []
    for index, face in enumerate(result.faces, result.first_drawn):
        measures: Row = dict.fromkeys((*_PER_FRAME, "yaw_bin", "expression_bin"))
        if face is not None:
            measures = {name: getattr(face, name) for name in _PER_FRAME}
            measures |= {"yaw_bin": yaw_bin(face.yaw_deg), "expression_bin": expression_bin(face.expression_change)}
        rows.append(_known(subject, bench, task.case) | {"frame_index": index} | measures)
    return rows


def _loss(subject: Subject, split: str, loss: Figure, clips: int) -> Row:
    interval = Interval(loss.value, None, None, 0, clips)
    return _metric(subject, "", split, "flow_loss", interval, absent=loss.absent) | {"persons": None}


def _summary(
    subject: Subject, bench: Bench, videos: Sequence[Row], drawn: Sequence[tuple[CaseTask, Measured]], fid: Figure
) -> list[Row]:
    """Over all videos, by yaw bin and by expression bin."""
    metric = partial(_metric, subject, bench.version, bench.split)
    faces = [(task.case.identity_id, result.faces) for task, result in drawn]
    drawn_frames = sum(len(shown) for _, shown in faces)
    rows = []
    for name in PER_VIDEO:
        known = [(video[name], video["identity_id"]) for video in videos if video[name] is not None]
        interval = bootstrap_interval([value for value, _ in known], [person for _, person in known])
        absent = None if known else _why(name, videos)
        rows.append(metric(name, interval, drawn_frames if name in _OF_FRAMES else None, absent))
    for name, figures in by_bins(faces, bench.bounds).items():
        for kind, interval in (("likeness", figures.similarity), ("score", figures.score)):
            why = interval.reason if figures.frames else "no drawn frame falls into it"
            rows.append(metric(f"{kind}_{name}", interval, figures.frames, why if interval.value is None else None))
    persons = len({person for person, _ in faces})
    of_all = Interval(fid.value, None, None, persons, len(faces)) if fid.absent is None else Interval(None, None, None, 0, 0)
    return [*rows, metric(FID, of_all, absent=fid.absent)]


def _metric(
    subject: Subject,
    bench_version: str,
    split: str,
    name: str,
    interval: Interval,
    frames: int | None = None,
    absent: str | None = None,
) -> Row:
    known = {"checkpoint_sha256": subject.checkpoint_sha256, "bench_version": bench_version, "split": split, "metric": name}
    figures = {field: getattr(interval, field) for field in ("value", "low", "high", "persons", "videos")}
    return known | figures | {"frames": frames, "absent": absent}


def _why(measure: str, videos: Sequence[Row]) -> str:
    """The first case without the measure and its cause, and how many there are."""
    causes = [
        f"case {video['case_id']}: {one['reason']}" for video in videos for one in video["absent"] if one["measure"] == measure
    ]
    return f"{len(causes)} of {len(videos)} videos: {causes[0]}" if causes else "no case was drawn"
