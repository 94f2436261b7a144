"""A bench out of a dataset: the clips are looked at in child processes, and what they gave is put together.

Belongs here: tasks, their endings, records and rows. Not here: which clips and pictures (`bench_choice`), looking at one
(`bench_looks`), the bench's form (`model.evaluation.bench`), where it lies (`bench_folder`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl

from lafid_assets.dataset.cutting import DEADLINE_S_PER_S, LEAST_DEADLINE_S
from lafid_assets.endings import Fault, fault_of
from lafid_assets.outcomes import Reason, Status
from lafid_assets.progress import track
from lafid_assets.release import bench_looks
from lafid_assets.release.bench_choice import (
    FEWEST_PERSONS,
    Moment,
    WantedCase,
    choose_cases,
    choose_persons,
    choose_strangers,
    reached,
)
from lafid_assets.release.bench_folder import folder_of
from lafid_assets.release.bench_looks import FirstFrame, FirstFrameTask, Looks, LooksTask
from lafid_assets.release.bench_records import Begun, Known, records_of
from lafid_assets.schemas import LAFID_BENCH
from lafid_assets.training.time_window import face_centre_xy_px
from lafid_assets.workers import Done, map_isolated
from model.encoding.footage import Footage, passed_s
from model.evaluation.bench import Bench, seal_bench
from model.face_engine.interface import Box, EngineInfo
from resources.file_store import FileStore

S_PER_PICTURE = 10.0
MOST_LOANS = 3
"""Clips of a person whose frames are tried where the case's own clip has none that can condition a model."""

FROM_THE_DATASET = ("clip_id", "identity_id", "speaking_status", "source", "licence", "dataset_version")

Row = Mapping[str, Any]
Find = Callable[[Sequence[Row]], Mapping[str, Footage]]


@dataclass(frozen=True)
class Built:
    """What came of it.

    Attributes:
        bench: None where no clip gave a case.
        pictures: path in the bench to PNG.
        rows: of `lafid_bench`, one a clip that was asked for.
    """

    bench: Bench | None
    pictures: Mapping[str, bytes]
    rows: pl.DataFrame


def build_bench(
    dataset: pl.DataFrame, faces: pl.DataFrame, find: Find, store: FileStore, engine: EngineInfo, name: str, most: int, seed: int
) -> Built:
    """The bench of a dataset's test split. A clip that cannot be read costs its own case and no other.

    Args:
        dataset: rows of `lafid_dataset`.
        faces: `bench_choice.FACE_COLUMNS` of the test split's clips.
        find: rows to where those lie that can be reached.
        engine: that measures.
        most: cases.
        seed: of the choice among equals, and of the noise.
    """
    test = dataset.filter(split="test")
    cases = choose_cases(test, faces, most, seed)
    persons = choose_persons(test, cases)
    strangers = choose_strangers(dataset.filter(pl.col("split") != "test"), FEWEST_PERSONS - len(persons)) if persons else []
    places = find([case.clip for case in cases])
    found = _look(
        [
            *(_first_frame_task(case, places, engine) for case in cases),
            *(LooksTask(person, store.uri, engine.name, with_photos=True) for person in persons),
            *(LooksTask(person, store.uri, engine.name, with_photos=False) for person in strangers),
        ]
    )
    frames = {case.clip["clip_id"]: ending for case, ending in zip(cases, found, strict=False)}
    looks = {one.identity_id: ending for one, ending in zip([*persons, *strangers], found[len(cases) :], strict=True)}
    lending = [
        person.identity_id
        for person in persons
        if any(_lacks_frame(frames[case.clip["clip_id"]]) for case in cases if case.clip["identity_id"] == person.identity_id)
    ]
    clips = {row["clip_id"]: row for row in dataset.iter_rows(named=True)}
    loans = _loans({name: looks[name] for name in lending}, clips, find, engine)
    ended = {
        case.clip["clip_id"]: _begin(
            case, frames[case.clip["clip_id"]], looks[case.clip["identity_id"]], loans.get(case.clip["identity_id"])
        )
        for case in cases
    }
    begun = [one for one in ended.values() if isinstance(one, Begun)]
    bench, pictures = None, dict[str, bytes]()
    if begun:
        drawn = {one.wanted.clip["identity_id"] for one in begun}
        own, others = (
            [Known(one.identity_id, shown) for one in people if isinstance(shown := looks[one.identity_id], Looks)]
            for people in (persons, strangers)
        )
        own, others = [one for one in own if one.identity_id in drawn], [one for one in others if one.looks.gallery]
        facts, pictures = records_of(begun, own, others, clips, engine, name)
        bench = seal_bench(facts, pictures)
    rows = LAFID_BENCH.frame(_row(case, ended[case.clip["clip_id"]], looks, bench, name) for case in cases)
    return Built(bench, pictures, rows)


def _first_frame_task(case: WantedCase, places: Mapping[str, Footage], engine: EngineInfo) -> FirstFrameTask:
    clip = case.clip
    footage = places.get(clip["clip_id"])
    return FirstFrameTask(clip["clip_id"], footage, clip["content_sha256"], clip["duration_s"], _posed(case), engine.name)


def _look(tasks: Sequence[FirstFrameTask | LooksTask]) -> list[FirstFrame | Looks | Fault]:
    found: dict[int, FirstFrame | Looks | Fault] = {}
    for index, ending in track(map_isolated(bench_looks.do, tasks, _deadline_s), "lafid_bench", len(tasks)):
        found[index] = ending.value if isinstance(ending, Done) else fault_of(ending)
    return [found[index] for index in range(len(tasks))]


def _deadline_s(task: FirstFrameTask | LooksTask) -> float:
    if isinstance(task, LooksTask):
        return LEAST_DEADLINE_S + S_PER_PICTURE * 2 * len(task.person.pictures)
    decoded_s = task.duration_s + (passed_s(task.footage) if task.footage else 0.0)
    return LEAST_DEADLINE_S + DEADLINE_S_PER_S * decoded_s + S_PER_PICTURE * bench_looks.MOST_TRIED


def _lacks_frame(ending: FirstFrame | Looks | Fault) -> bool:
    """Whether the clip can be read, and none of its frames can condition a model."""
    return isinstance(ending, FirstFrame) and ending.png is None and ending.status == Status.OK


class _Loan(NamedTuple):
    frame: FirstFrame
    box: Box


def _loans(
    looks: Mapping[str, FirstFrame | Looks | Fault], clips: Mapping[str, Row], find: Find, engine: EngineInfo
) -> dict[str, _Loan]:
    """Person to the whole frame that a gallery picture was cut from: of the first of the gallery that can condition a model."""
    asked: list[tuple[str, FirstFrameTask]] = []
    for identity_id, shown in looks.items():
        gallery = [seen.picture for seen in shown.gallery] if isinstance(shown, Looks) else []
        lenders = list(dict.fromkeys(picture.clip_id for picture in gallery))[:MOST_LOANS]
        places = find([clips[clip_id] for clip_id in lenders])
        for clip_id in lenders:
            moments = tuple(
                Moment(0.0, picture.frame_index, picture.box, None, None) for picture in gallery if picture.clip_id == clip_id
            )
            clip = clips[clip_id]
            task = FirstFrameTask(clip_id, places.get(clip_id), clip["content_sha256"], clip["duration_s"], moments, engine.name)
            asked.append((identity_id, task))
    loans: dict[str, _Loan] = {}
    for (identity_id, task), ending in zip(asked, _look([task for _, task in asked]), strict=True):
        if isinstance(ending, FirstFrame) and ending.png is not None:
            loans.setdefault(identity_id, _Loan(ending, task.moments[ending.moment].box))
    return loans


def _begin(
    case: WantedCase, frame: FirstFrame | Looks | Fault, looks: FirstFrame | Looks | Fault, loan: _Loan | None
) -> Begun | Fault:
    """How a case begins, or why it cannot."""
    assert not isinstance(frame, Looks)
    assert not isinstance(looks, FirstFrame)
    if isinstance(frame, Fault):
        return frame
    if frame.status != Status.OK:
        assert frame.reason is not None
        return Fault(frame.status, frame.reason, frame.detail or "")
    if isinstance(looks, Fault):
        return looks._replace(detail=f"its person's pictures: {looks.detail}")
    if not looks.gallery:
        return Fault(Status.REJECTED, Reason.NO_FACE, "no picture of its person shows a face that is found again")
    if frame.png is not None:
        moment = _posed(case)[frame.moment]
        length_s = case.clip["duration_s"]
        centre = face_centre_xy_px(case.clip["face_track"], moment.time_s, length_s) or _middle(moment.box)
        return Begun(case, "window", frame, moment.time_s, centre)
    if loan is not None:
        return Begun(case, "gallery", loan.frame, 0.0, _middle(loan.box))
    reason = Reason.POSE_UNKNOWN if case.moments else Reason.NO_FACE
    return Fault(
        Status.REJECTED, reason, "no frame of the clip, and none that its person's gallery is from, can condition a model"
    )


def _posed(case: WantedCase) -> tuple[Moment, ...]:
    return tuple(moment for moment in case.moments if moment.yaw_deg is not None)


def _middle(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _row(
    case: WantedCase, ended: Begun | Fault, looks: Mapping[str, FirstFrame | Looks | Fault], bench: Bench | None, name: str
) -> dict[str, Any]:
    clip, own = case.clip, looks[case.clip["identity_id"]]
    one = ended if isinstance(ended, Begun) else None
    shown = reached(case.moments, one.start_s if one else 0.0)
    drawn = bench and next((case for case in bench.cases if case.clip_id == clip["clip_id"]), None)
    fault = ended if isinstance(ended, Fault) else None
    return {name: clip[name] for name in FROM_THE_DATASET} | {
        "bench_version": bench and bench.version,
        "bench_path": bench and folder_of(bench.version),
        "bench_name": name,
        "why": case.why,
        "seed": case.seed,
        "begins": one and one.begins,
        "start_s": one and one.start_s,
        "duration_s": drawn and drawn.duration_s,
        "reached_yaw_deg": shown.yaw_deg,
        "yaw_bin": shown.yaw_bin,
        "expression_bin": shown.expression_bin,
        "gallery_pictures": len(own.gallery) if isinstance(own, Looks) else 0,
        "photos": len(drawn.photos) if drawn else 0,
        "status": fault.status if fault else Status.OK,
        "reason": fault and fault.reason,
        "detail": fault and fault.detail,
    }
