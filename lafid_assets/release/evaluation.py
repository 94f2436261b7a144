"""Measures of a checkpoint on persons that it never saw.

Belongs here: held-out clips to the processes that draw them, and from what these measured to rows. Not here: a single clip
(`held_out_measures`), which clips (`training.held_out`), what a measure is (`model.likeness`, `model.training.metrics`), what is
enough (`gates`).
"""

import logging
import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import polars as pl

from lafid_assets.endings import Fault, fault_of
from lafid_assets.outcomes import Status
from lafid_assets.progress import track
from lafid_assets.release.held_out_measures import Drawn, Loss, LossTask, Measured, VideoTask, do, kept, video_path
from lafid_assets.schemas import EVALUATED_CLIPS, MODEL_EVALUATION
from lafid_assets.training.held_out import HeldOut
from lafid_assets.workers import Done, map_isolated
from model.face_engine.onnx_session import cuda_devices
from model.likeness import likeness_of
from resources.gpu import gpu_environments

LOGGER = logging.getLogger("lafid.release")
HELD_OUT = ("validation", "test")
THREADS = "OMP_NUM_THREADS"

Result = Loss | Drawn | Fault
Frames = dict[str, pl.DataFrame]


class EvaluationFailed(RuntimeError):
    """Nothing could be measured; the message says why."""


def evaluate(
    measured: Measured,
    chosen: Mapping[str, Sequence[HeldOut]],
    cached: Mapping[str, int],
    deadline_s: float,
    processes: int | None = None,
) -> Frames:
    """Flow loss on the cached clips, and what drawn videos keep of their first frame and of the person.

    What an earlier run has done for this checkpoint is not done again. A clip that fails costs no other its result. A base that
    cannot be given a first frame is given the clip's as a photo, and its `first_frame_psnr_db` is NULL. Likeness is over the
    frames of all clips of a split together.

    Args:
        chosen: the clips to draw, by split.
        cached: how many clips of a split are cached, for those that exist.
        deadline_s: what one clip may take.
        processes: that draw at a time; None: one a GPU, or one where there is none.

    Returns:
        rows of `model_evaluation` and `evaluated_clips`; a measure that no clip allowed is NULL.

    Raises:
        EvaluationFailed: the flow loss could not be computed, or every clip failed.
    """
    losses = [LossTask(split) for split, clips in cached.items() if clips]
    videos = [VideoTask(one) for clips in chosen.values() for one in clips]
    results = _results(measured, [*losses, *videos], deadline_s, processes)
    _require_some(results[: len(losses)], any_will_do=False)
    _require_some(results[len(losses) :], any_will_do=True)
    loss_of = {task.split: found.value for task, found in zip(losses, results, strict=False) if isinstance(found, Loss)}
    drawn = {task.name: found for task, found in zip(videos, results[len(losses) :], strict=True)}
    rows: list[dict[str, Any]] = []
    lines: list[dict[str, Any]] = []
    for split, clips in cached.items():
        tasks = [VideoTask(one) for one in chosen.get(split, ())]
        found = [(task, drawn[task.name]) for task in tasks]
        good = [result for _, result in found if isinstance(result, Drawn) and result.video is not None]
        fidelities = [result.first_frame_psnr_db for result in good if result.first_frame_psnr_db is not None]
        measures = {"first_frame_psnr_db": sum(fidelities) / len(fidelities) if fidelities else None}
        measures |= likeness_of([result.video for result in good if result.video is not None]).figures()
        known: dict[str, Any] = {"checkpoint_sha256": measured.checkpoint_sha256, "split": split}
        rows.append(known | {"metric": "flow_loss", "value": loss_of.get(split), "clips": clips})
        rows += [known | {"metric": name, "value": value, "clips": len(good)} for name, value in measures.items()]
        lines += [known | _line(measured, task, result) for task, result in found]
    return {MODEL_EVALUATION.name: MODEL_EVALUATION.frame(rows), EVALUATED_CLIPS.name: EVALUATED_CLIPS.frame(lines)}


def _results(measured: Measured, tasks: Sequence[LossTask | VideoTask], deadline_s: float, processes: int | None) -> list[Result]:
    results: list[Result | None] = [kept(measured, task) for task in tasks]
    missing = [index for index, result in enumerate(results) if result is None]
    if len(missing) < len(tasks):
        LOGGER.info("model_evaluation: %d of %d tasks were done before", len(tasks) - len(missing), len(tasks))
    endings = map_isolated(
        partial(do, measured),
        [tasks[index] for index in missing],
        lambda _: deadline_s,
        environments=(children := _environments(measured, processes)),
        workers=len(children),
    )
    for number, ending in track(endings, "model_evaluation", len(missing)):
        results[missing[number]] = ending.value if isinstance(ending, Done) else fault_of(ending)
    return [result for result in results if result is not None]


def _environments(measured: Measured, processes: int | None) -> list[dict[str, str]]:
    """Of each child: where nobody names a device each sees a GPU of its own. They share the cores."""
    count = cuda_devices() if measured.drawing.device is None else 0
    children: list[dict[str, str]] = gpu_environments(count)[:processes] or [{}] * (processes or 1)
    threads = os.environ.get(THREADS) or str(max(1, len(os.sched_getaffinity(0)) // len(children)))
    return [child | {THREADS: threads} for child in children]


def _require_some(results: Sequence[Result], *, any_will_do: bool) -> None:
    failed = [result for result in results if not isinstance(result, Loss) and result.status in (Status.ERROR, Status.TIMEOUT)]
    if failed and (not any_will_do or len(failed) == len(results)):
        raise EvaluationFailed(f"{len(failed)} of {len(results)} tasks failed, the first: {failed[0].detail}")


def _line(measured: Measured, task: VideoTask, result: Result) -> dict[str, Any]:
    assert not isinstance(result, Loss)
    one, video = task.held_out, result.video if isinstance(result, Drawn) else None
    return {
        "clip_id": one.clip["clip_id"],
        "identity_id": one.clip["identity_id"],
        "reached_yaw_deg": one.reached_yaw_deg,
        "reached": one.yaw_bin,
        "why": one.why,
        **one.bucket._asdict(),
        "start_s": one.start_s,
        "first_frame_psnr_db": result.first_frame_psnr_db if isinstance(result, Drawn) else None,
        "likeness": None if video is None else likeness_of([video]).mean,
        "video_path": None if video is None else video_path(measured, task).relative_to(measured.store).as_posix(),
        "status": result.status,
        "reason": result.reason,
        "detail": result.detail,
    }
