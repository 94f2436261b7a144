"""From what was measured of each video to the tables: a row a frame, a row a video, and intervals over persons.

Belongs here: results of tasks -> frames of the three tables. Not here: measuring (`evaluation_tasks`), what an interval is
(`model.evaluation.statistics`), comparing two models (`comparison`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import polars as pl

from lafid_assets.release.evaluation_tasks import FID, CaseTask, Figure, Measured, Subject, video_path
from lafid_assets.schemas.evaluation import EVALUATED_FRAMES, EVALUATED_VIDEOS, MEASURES, MODEL_EVALUATION
from lafid_assets.workers.exit_reasons import Fault
from model.clip_size import Bucket
from model.evaluation.bench import Bench, Case
from model.evaluation.similarity import FrameFace, VideoFaces, by_bins, faces_found_share, pose_binned
from model.evaluation.statistics import Interval, bootstrap_interval
from model.likeness import expression_bin, yaw_bin

PER_VIDEO = (
    "first_frame_psnr_db",
    "pose_binned_similarity",
    "likeness",
    "faces_found_share",
    *(column.name for column in MEASURES),
)
"""Measures of which each video has a value of its own."""
_NONE = Interval(None, None, None, 0, 0)
Frames = dict[str, pl.DataFrame]
Row = dict[str, Any]


class MeasuredCase(NamedTuple):
    """A case, and how it ended."""

    task: CaseTask
    result: Measured | Fault


def loss_rows(subject: Subject, losses: Mapping[str, tuple[Figure, int]]) -> Frames:
    """The three tables with flow losses alone.

    Args:
        losses: split to its loss and how many clips of it are cached.
    """
    rows = [
        _metric(subject, "", split, "flow_loss", Interval(loss.value, None, None, 0, clips))
        | {"persons": None, "absent": loss.absent}
        for split, (loss, clips) in losses.items()
    ]
    return {
        MODEL_EVALUATION.name: MODEL_EVALUATION.frame(rows),
        EVALUATED_VIDEOS.name: EVALUATED_VIDEOS.frame([]),
        EVALUATED_FRAMES.name: EVALUATED_FRAMES.frame([]),
    }


def rows_of_cases(subject: Subject, bench: Bench, cases: Sequence[MeasuredCase], fid: Figure) -> Frames:
    """The three tables of a bench's cases.

    Args:
        fid: over all of them.
    """
    videos = [_video(subject, bench, one) for one in cases]
    frames = [row for one in cases if isinstance(one.result, Measured) for row in _frames(subject, bench, one.task, one.result)]
    return {
        MODEL_EVALUATION.name: MODEL_EVALUATION.frame(_summary(subject, bench, cases, videos, fid)),
        EVALUATED_VIDEOS.name: EVALUATED_VIDEOS.frame(videos),
        EVALUATED_FRAMES.name: EVALUATED_FRAMES.frame(frames),
    }


def target_yaws_deg(case: Case, video_s: float) -> tuple[float, ...]:
    """Where the real clip's face turned in as many seconds as a video lasts."""
    if video_s >= case.duration_s:
        return case.target_yaw_deg
    return case.target_yaw_deg[: max(1, math.ceil(len(case.target_yaw_deg) * video_s / case.duration_s))]


def _known(subject: Subject, bench: Bench, case: Case) -> Row:
    return {
        "checkpoint_sha256": subject.checkpoint_sha256,
        "bench_version": bench.version,
        "case_id": case.case_id,
        "seed": case.seed,
    }


def _video(subject: Subject, bench: Bench, one: MeasuredCase) -> Row:
    case, result = one.task.case, one.result
    found = result if isinstance(result, Measured) and result.size is not None else None
    measures: dict[str, float | None] = dict.fromkeys(PER_VIDEO)
    absent: dict[str, str] = {}
    if found is None:
        absent = dict.fromkeys(PER_VIDEO, f"{result.reason}: {result.detail}")
    else:
        binned = pose_binned(found.faces, target_yaws_deg(case, found.video_s), bench.bounds)
        measures |= found.measures
        measures |= {"first_frame_psnr_db": found.first_frame_psnr_db, "pose_binned_similarity": binned.value}
        measures |= {"likeness": _likeness(found.faces), "faces_found_share": faces_found_share(found.faces)}
        reasons = {"pose_binned_similarity": binned.reason, "likeness": "no drawn frame shows a face"}
        reasons |= {"first_frame_psnr_db": "the base is given no first frame", "faces_found_share": "no frame was drawn"}
        reasons |= found.absent
        absent = {name: str(reasons.get(name) or "it was not taken") for name, value in measures.items() if value is None}
    return {
        **_known(subject, bench, case),
        "clip_id": case.clip_id,
        "identity_id": case.identity_id,
        **(dict.fromkeys(Bucket._fields) if found is None or found.size is None else found.size._asdict()),
        "fps": None if found is None else found.fps,
        "steps": subject.steps,
        "yaw_bin": case.yaw_bin,
        "expression_bin": case.expression_bin,
        "speaking_status": case.speaking_status,
        **measures,
        "absent": [{"measure": name, "reason": reason} for name, reason in absent.items()],
        "video_path": None if found is None else video_path(subject, one.task).relative_to(subject.root).as_posix(),
        "status": result.status,
        "reason": result.reason,
        "detail": result.detail,
    }


def _likeness(faces: Sequence[FrameFace | None]) -> float | None:
    found = [face.similarity for face in faces if face is not None]
    return sum(found) / len(faces) if found else None


def _frames(subject: Subject, bench: Bench, task: CaseTask, result: Measured) -> list[Row]:
    known = _known(subject, bench, task.case)
    taken = ("yaw_deg", "pitch_deg", "similarity", "score", "gallery_index", "pose_gap_deg")
    rows = []
    for index, face in enumerate(result.faces, result.first_drawn):
        measures: Row = dict.fromkeys((*taken, "yaw_bin", "expression_bin"))
        if face is not None:
            measures = {name: getattr(face, name) for name in taken}
            measures |= {"yaw_bin": yaw_bin(face.yaw_deg), "expression_bin": expression_bin(face.expression_change)}
        rows.append(known | {"frame_index": index} | measures)
    return rows


def _summary(subject: Subject, bench: Bench, cases: Sequence[MeasuredCase], videos: Sequence[Row], fid: Figure) -> list[Row]:
    rows = []
    measured = [(one.task.case.identity_id, one.result) for one in cases if isinstance(one.result, Measured)]
    drawn = [(person, result.faces) for person, result in measured if result.size is not None]
    drawn_frames = sum(len(faces) for _, faces in drawn)
    for name in PER_VIDEO:
        known = [(video[name], video["identity_id"]) for video in videos if video[name] is not None]
        interval = bootstrap_interval([value for value, _ in known], [person for _, person in known])
        of_frames = drawn_frames if name in ("likeness", "faces_found_share", "pose_binned_similarity") else None
        row = _metric(subject, bench.version, bench.split, name, interval, of_frames)
        rows.append(row | {"absent": None if known else _why(name, videos)})
    for name, figures in by_bins([VideoFaces(*one) for one in drawn], bench.bounds).items():
        for kind, interval in (("likeness", figures.similarity), ("score", figures.score)):
            row = _metric(subject, bench.version, bench.split, f"{kind}_{name}", interval, figures.frames)
            why = interval.reason if figures.frames else "no drawn frame falls into it"
            rows.append(row | {"absent": why if interval.value is None else None})
    of_all = Interval(fid.value, None, None, len({person for person, _ in drawn}), len(drawn)) if fid.absent is None else _NONE
    return [*rows, _metric(subject, bench.version, bench.split, FID, of_all) | {"absent": fid.absent}]


def _metric(subject: Subject, bench_version: str, split: str, name: str, interval: Interval, frames: int | None = None) -> Row:
    known = {"checkpoint_sha256": subject.checkpoint_sha256, "bench_version": bench_version, "split": split, "metric": name}
    told = {field: value for field, value in asdict(interval).items() if field != "reason"}
    return known | told | {"frames": frames, "absent": None}


def _why(measure: str, videos: Sequence[Row]) -> str:
    """The first case without the measure and its cause, and how many there are."""
    causes = [
        f"case {video['case_id']}: {one['reason']}" for video in videos for one in video["absent"] if one["measure"] == measure
    ]
    return f"{len(causes)} of {len(videos)} videos: {causes[0]}" if causes else "no case was drawn"
