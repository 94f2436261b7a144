"""A model's measures on persons that it never saw.

Belongs here: cases of a bench and cached splits to the processes that draw and measure them. Not here: a single task
(`evaluation_tasks`), from results to rows (`evaluation_rows`), which model (`model_files`, `champion`), what is enough (`gates`).
"""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import polars as pl

from lafid_assets.outcomes import Status
from lafid_assets.progress import track
from lafid_assets.release.evaluation_child import do
from lafid_assets.release.evaluation_rows import MeasuredCase, loss_rows, rows_of_cases
from lafid_assets.release.evaluation_tasks import (
    FID,
    FidTask,
    Figure,
    LossTask,
    Measured,
    Subject,
    Task,
    case_tasks,
    kept,
)
from lafid_assets.training.balanced_choice import Candidate, take_turns
from lafid_assets.workers.exit_reasons import Fault, fault_of
from lafid_assets.workers.pool import Done, map_isolated
from model.evaluation.bench import Bench, Case
from model.face_engine.onnx_session import cuda_devices
from resources.cores import usable_cores
from resources.gpu import gpu_environments

LOGGER = logging.getLogger("lafid.release")
HELD_OUT = ("validation", "test")
THREADS = "OMP_NUM_THREADS"

Result = Figure | Measured | Fault
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
    losses = [LossTask(split) for split, clips in cached.items() if clips]
    videos = case_tasks(bench, subject.bench_dir, cases) if bench is not None and subject.bench_dir is not None else []
    results = _results(subject, [*losses, *videos], deadline_s, processes, keep)
    _require_some(results[len(losses) :] or results)
    figures = {task.split: _figure(found) for task, found in zip(losses, results, strict=False)}
    unknown = Figure(key="", value=None, absent="no clip of the split is cached")
    rows = loss_rows(subject, {split: (figures.get(split, unknown), clips) for split, clips in cached.items()})
    if bench is None:
        return rows
    measured = [
        MeasuredCase(task, found)
        for task, found in zip(videos, results[len(losses) :], strict=True)
        if not isinstance(found, Figure)
    ]
    found = rows_of_cases(subject, bench, measured, _fid(subject, bench, measured, deadline_s, keep))
    return {name: pl.concat([rows[name], found[name]]) for name in rows}


def is_kept(subject: Subject, bench: Bench, cases: Sequence[Case], cached: Mapping[str, int]) -> bool:
    """Whether all that `evaluate` makes was made before: then it asks for none of the model's files."""
    assert subject.bench_dir is not None
    losses: list[Task] = [LossTask(split) for split, clips in cached.items() if clips]
    return all(kept(subject, task) is not None for task in losses + case_tasks(bench, subject.bench_dir, cases))


def _fid(subject: Subject, bench: Bench, cases: Sequence[MeasuredCase], deadline_s: float, keep: Callable[[], None]) -> Figure:
    """After all videos; no process is begun for it where it cannot be had."""
    drawn = [
        (one.task, one.result.absent.get(FID))
        for one in cases
        if isinstance(one.result, Measured) and one.result.size is not None
    ]
    if not drawn:
        return Figure(key="", value=None, absent="no case was drawn")
    for task, lacking in drawn:
        if lacking is not None:
            return Figure(key="", value=None, absent=f"case {task.case.case_id}: {lacking}")
    [result] = _results(subject, [FidTask(bench.version, tuple(task for task, _ in drawn))], deadline_s, 1, keep)
    return _figure(result)


def _figure(result: Result) -> Figure:
    return result if isinstance(result, Figure) else Figure(key="", value=None, absent=f"{result.reason}: {result.detail}")


def _results(
    subject: Subject, tasks: Sequence[Task], deadline_s: float, processes: int | None, keep: Callable[[], None]
) -> list[Result]:
    results: list[Result | None] = [kept(subject, task) for task in tasks]
    missing = [index for index, result in enumerate(results) if result is None]
    if len(missing) < len(tasks):
        LOGGER.info("evaluation: %d of %d tasks were done before", len(tasks) - len(missing), len(tasks))
    endings = map_isolated(
        partial(do, subject),
        [tasks[index] for index in missing],
        lambda _: deadline_s,
        environments=(children := _environments(subject, processes)),
        workers=len(children),
    )
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


def _require_some(results: Sequence[Result]) -> None:
    failed = [result for result in results if not isinstance(result, Figure) and result.status in (Status.ERROR, Status.TIMEOUT)]
    if failed and len(failed) == len(results):
        raise EvaluationFailed(f"all {len(failed)} tasks failed, the first: {failed[0].detail}")
