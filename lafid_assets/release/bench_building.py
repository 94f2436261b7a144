"""A bench out of a dataset: the clips are looked at in child processes, and what they gave is put together.

Belongs here: tasks, their endings, records and rows. Not here: which clips and pictures (`bench_choice`), looking at one
(`bench_looks`), the bench's form (`model.evaluation.bench`), where it lies (`bench_folder`).
"""

import logging
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import polars as pl

from lafid_assets.dataset.crops import DEADLINE_S_PER_S, LEAST_DEADLINE_S
from lafid_assets.ingest.clip_prefetch import map_footage
from lafid_assets.outcomes import Reason, Status
from lafid_assets.progress import track
from lafid_assets.release import bench_looks
from lafid_assets.release.bench_choice import (
    Moment,
    WantedCase,
    WantedPerson,
    choose_cases,
    choose_persons,
    reached,
    strangers_of,
)
from lafid_assets.release.bench_folder import folder_of
from lafid_assets.release.bench_looks import FirstFrame, FirstFrameTask, Looks, LooksTask
from lafid_assets.release.bench_records import Begun, Known, records_of
from lafid_assets.schemas import LAFID_BENCH
from lafid_assets.training.time_window import face_centre_xy_px
from lafid_assets.workers.exit_reasons import Fault, fault_of
from lafid_assets.workers.pool import Done
from model.encoding.footage import Footage, passed_s
from model.evaluation.bench import Bench, seal_bench
from model.face_engine.interface import Box, EngineInfo
from resources.store.file_store import FileStore

LOGGER = logging.getLogger("lafid.release")
S_PER_PICTURE = 10.0
MOST_LENDERS = 3
"""Clips of a person whose frames are tried where a case's own clip has none that can condition a model."""

FROM_THE_DATASET = ("clip_id", "identity_id", "speaking_status", "source", "licence", "dataset_version")

Row = Mapping[str, Any]
Task = TypeVar("Task", FirstFrameTask, LooksTask)
Found = TypeVar("Found", FirstFrame, Looks)
Feeders = Sequence[Mapping[str, str]]
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
    test: pl.DataFrame,
    others: pl.DataFrame,
    faces: pl.DataFrame,
    find: Find,
    store: FileStore,
    engine: EngineInfo,
    *,
    name: str,
    most: int,
    seed: int,
    feeders: Feeders = (),
) -> Built:
    """The bench of a dataset's test split. A clip that cannot be read costs its own case and no other.

    Args:
        test: rows of `lafid_dataset` of that split.
        others: the same of the persons that `bench_choice.stranger_names` names.
        faces: `bench_choice.FACE_COLUMNS` of the test split's clips.
        find: rows to where those lie that can be reached.
        engine: that measures.
        most: cases.
        seed: of the choice among equals, and of the noise.
        feeders: environments of the children, where the engine runs on GPUs: one a GPU. Else one child a core.
    """
    cases = choose_cases(test, faces, most, seed)
    persons, strangers = choose_persons(test, cases), strangers_of(others)
    theirs = test.filter(pl.col("identity_id").is_in([person.identity_id for person in persons]))
    clips = {row["clip_id"]: row for row in pl.concat([theirs, others]).iter_rows(named=True)}
    frames = _first_frames(cases, persons, clips, find, engine, feeders)
    given = {(one.clip_id, one.moment.frame_index) for one in frames.values() if isinstance(one, _Given)}
    looks = _looks(persons, strangers, given, store, engine, feeders)
    ended = {case.clip["clip_id"]: _begin(case, frames[case.clip["clip_id"]], looks[case.clip["identity_id"]]) for case in cases}
    begun = [one for one in ended.values() if isinstance(one, Begun)]
    bench, pictures = None, dict[str, bytes]()
    if begun:
        drawn = {one.wanted.clip["identity_id"] for one in begun}
        own = _known([person for person in persons if person.identity_id in drawn], looks)
        facts, pictures = records_of(begun, own, _known(strangers, looks), clips, engine, name)
        bench = seal_bench(facts, pictures)
    rows = LAFID_BENCH.frame(_row(case, ended[case.clip["clip_id"]], looks, bench, name) for case in cases)
    return Built(bench, pictures, rows)


class _Given(NamedTuple):
    """A whole frame that a model can be given, and where it is from.

    Attributes:
        is_own: whether it was looked for in the case's own clip.
    """

    frame: FirstFrame
    clip_id: str
    moment: Moment
    is_own: bool


def _first_frames(
    cases: Sequence[WantedCase],
    persons: Sequence[WantedPerson],
    clips: Mapping[str, Row],
    find: Find,
    engine: EngineInfo,
    feeders: Feeders,
) -> dict[str, _Given | FirstFrame | Fault]:
    """Clip to what its case begins with, or why it cannot: a frame of its own, else one that a picture of its person is from."""
    places = find([case.clip for case in cases])
    own = _given([_first_frame_task(case.clip, _posed(case), places, engine) for case in cases], feeders, is_own=True)
    frames = {case.clip["clip_id"]: one for case, one in zip(cases, own, strict=True)}
    lacking = [case for case in cases if _lacks_frame(frames[case.clip["clip_id"]])]
    borrowers = {case.clip["identity_id"] for case in lacking}
    asked: list[tuple[str, FirstFrameTask]] = []
    for person in (person for person in persons if person.identity_id in borrowers):
        frontal_first = [*person.pictures[:1], *sorted(person.pictures[1:], key=lambda picture: abs(picture.yaw_deg))]
        lenders = list(dict.fromkeys(picture.clip_id for picture in frontal_first))[:MOST_LENDERS]
        places = find([clips[clip_id] for clip_id in lenders])
        for clip_id in lenders:
            moments = tuple(
                Moment(0.0, picture.frame_index, picture.box, picture.yaw_deg, None)
                for picture in frontal_first
                if picture.clip_id == clip_id
            )
            asked.append((person.identity_id, _first_frame_task(clips[clip_id], moments, places, engine)))
    lent: dict[str, _Given] = {}
    for (identity_id, _), one in zip(asked, _given([task for _, task in asked], feeders, is_own=False), strict=True):
        if isinstance(one, _Given):
            lent.setdefault(identity_id, one)
    return frames | {case.clip["clip_id"]: lent[name] for case in lacking if (name := case.clip["identity_id"]) in lent}


def _given(tasks: Sequence[FirstFrameTask], feeders: Feeders, *, is_own: bool) -> list[_Given | FirstFrame | Fault]:
    found: list[_Given | FirstFrame | Fault] = []
    for task, ending in zip(tasks, _look(tasks, bench_looks.find_first_frame, _decoding_s, feeders), strict=True):
        if isinstance(ending, FirstFrame) and ending.png is not None:
            found.append(_Given(ending, task.clip_id, task.moments[ending.moment], is_own))
        else:
            found.append(ending)
    return found


def _looks(
    persons: Sequence[WantedPerson],
    strangers: Sequence[WantedPerson],
    given: Set[tuple[str, int]],
    store: FileStore,
    engine: EngineInfo,
    feeders: Feeders,
) -> dict[str, Looks | Fault]:
    """Of everybody. A frame that a model is given is no picture that it is measured against, nor a photo beside it."""
    tasks = []
    for person in persons:
        others = tuple(picture for picture in person.pictures if (picture.clip_id, picture.frame_index) not in given)
        tasks.append(LooksTask(person._replace(pictures=others), store.uri, engine.name, with_photos=True))
    tasks += [LooksTask(person, store.uri, engine.name, with_photos=False) for person in strangers]
    found = _look(tasks, bench_looks.look_at, _looking_s, feeders)
    return {task.person.identity_id: ending for task, ending in zip(tasks, found, strict=True)}


def _known(people: Sequence[WantedPerson], looks: Mapping[str, Looks | Fault]) -> list[Known]:
    known = []
    for name in (person.identity_id for person in people):
        shown = looks[name]
        if isinstance(shown, Fault):
            LOGGER.warning("the bench goes without %s, whose pictures could not be looked at: %s", name, shown.detail)
        elif shown.gallery:
            known.append(Known(name, shown))
    return known


def _first_frame_task(
    clip: Row, moments: tuple[Moment, ...], places: Mapping[str, Footage], engine: EngineInfo
) -> FirstFrameTask:
    footage = places.get(clip["clip_id"])
    return FirstFrameTask(clip["clip_id"], footage, clip["content_sha256"], clip["duration_s"], moments, engine.name)


def _look(
    tasks: Sequence[Task], work: Callable[[Task], Found], deadline_s: Callable[[Task], float], feeders: Feeders
) -> list[Found | Fault]:
    found: dict[int, Found | Fault] = {}
    endings = map_footage(work, tasks, deadline_s, workers=len(feeders) or None, environments=feeders, footage_of=_footage_of)
    for index, ending in track(endings, "lafid_bench", len(tasks)):
        found[index] = ending.value if isinstance(ending, Done) else fault_of(ending)
    return [found[index] for index in range(len(tasks))]


def _footage_of(task: object) -> Footage | None:
    return task.footage if isinstance(task, FirstFrameTask) else None


def _looking_s(task: LooksTask) -> float:
    return LEAST_DEADLINE_S + S_PER_PICTURE * 2 * len(task.person.pictures)


def _decoding_s(task: FirstFrameTask) -> float:
    decoded_s = task.duration_s + (passed_s(task.footage) if task.footage else 0.0)
    return LEAST_DEADLINE_S + DEADLINE_S_PER_S * decoded_s + S_PER_PICTURE * bench_looks.MOST_TRIED


def _lacks_frame(found: _Given | FirstFrame | Fault) -> bool:
    """Whether the clip can be read, and none of its frames can condition a model."""
    return isinstance(found, FirstFrame) and found.status == Status.OK


def _begin(case: WantedCase, found: _Given | FirstFrame | Fault, looks: Looks | Fault) -> Begun | Fault:
    """How a case begins, or why it cannot."""
    if isinstance(found, Fault):
        return found
    if isinstance(found, FirstFrame) and found.reason is not None:
        return Fault(found.status, found.reason, found.detail or "")
    if isinstance(found, FirstFrame):
        reason = Reason.POSE_UNKNOWN if case.moments else Reason.NO_FACE
        return Fault(Status.REJECTED, reason, "no frame of the clip, and none of its person's pictures, can condition a model")
    if isinstance(looks, Fault):
        return looks._replace(detail=f"its person's pictures: {looks.detail}")
    if not looks.gallery:
        return Fault(
            Status.REJECTED,
            Reason.NO_FACE,
            "no picture of its person, beside those that models are given, shows a face that is found again",
        )
    if not found.is_own:
        return Begun(case, "gallery", found.frame, 0.0, _middle(found.moment.box))
    start_s = found.moment.time_s
    centre = face_centre_xy_px(case.clip["face_track"], start_s, case.clip["duration_s"]) or _middle(found.moment.box)
    return Begun(case, "window", found.frame, start_s, centre)


def _posed(case: WantedCase) -> tuple[Moment, ...]:
    return tuple(moment for moment in case.moments if moment.yaw_deg is not None)


def _middle(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _row(
    case: WantedCase, ended: Begun | Fault, looks: Mapping[str, Looks | Fault], bench: Bench | None, name: str
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
