"""A bench out of a dataset: child processes look at its clips and pictures, and the records are made of what they find.

Belongs here: tasks and their endings, the bench's records, the table's rows. Not here: which clips and pictures
(`bench_choice`), looking at one (`bench_looks`), the bench's form (`model.evaluation.bench`), where it lies (`bench_folder`).
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

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
from lafid_assets.schemas import LAFID_BENCH
from lafid_assets.training.time_window import face_centre_xy_px
from lafid_assets.workers.exit_reasons import Fault, fault_of
from lafid_assets.workers.pool import Children, Done
from model.encoding.footage import Footage, passed_s
from model.evaluation.bench import Bench, BenchFacts, Case, GalleryFace, MeasuringEngine, Person, SourceClip, seal_bench
from model.evaluation.bounds import bounds_of
from model.face_engine.interface import EngineInfo
from resources.store.file_store import FileStore

LOGGER = logging.getLogger("lafid.release")
S_PER_PICTURE = 10.0
MOST_LENDERS = 3
"""Clips of a person whose frames are tried where a case's own clip has none that can condition a model."""
PHOTOS_OF_A_CASE = 3
FROM_THE_DATASET = ("clip_id", "identity_id", "speaking_status", "source", "licence", "dataset_version")

Row = Mapping[str, Any]
Task = TypeVar("Task", FirstFrameTask, LooksTask)
Found = TypeVar("Found")
Feeders = Sequence[Mapping[str, str]]
Find = Callable[[Sequence[Row]], Mapping[str, Footage]]
Pictures = dict[str, bytes]
"""Path in the bench to PNG."""


class Built(NamedTuple):
    """What came of it.

    Attributes:
        bench: None where no clip gave a case.
        rows: of `lafid_bench`, one a clip that was asked for.
    """

    bench: Bench | None
    pictures: Pictures
    rows: pl.DataFrame


class Begun(NamedTuple):
    """A case that can be drawn.

    Attributes:
        start_s: where the part of its clip begins that counts.
        centre_xy_px: of the face, in the first frame.
    """

    wanted: WantedCase
    begins: Literal["window", "gallery"]
    frame: FirstFrame
    start_s: float
    centre_xy_px: tuple[float, float]


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
        seed: of the choice among equals, and of the noise.
        feeders: environments of the children, where the engine runs on GPUs: one a GPU. Else one child a core.
    """
    cases = choose_cases(test, faces, most, seed)
    persons, strangers = choose_persons(test, cases), strangers_of(others)
    theirs = test.filter(pl.col("identity_id").is_in([person.identity_id for person in persons]))
    clips = {row["clip_id"]: row for row in pl.concat([theirs, others]).iter_rows(named=True)}
    ended = _beginnings(cases, persons, clips, find, engine, feeders)
    looks = _looks(persons, strangers, ended.values(), store, engine, feeders)
    ended = {clip_id: _with_gallery(one, looks[clips[clip_id]["identity_id"]]) for clip_id, one in ended.items()}
    begun = [one for one in ended.values() if isinstance(one, Begun)]
    drawn = {one.wanted.clip["identity_id"] for one in begun}
    bench, pictures = None, Pictures()
    if begun:
        own = _known([person for person in persons if person.identity_id in drawn], looks)
        facts = _facts(begun, own, _known(strangers, looks), clips, engine, name, pictures)
        bench = seal_bench(facts, pictures)
    rows = LAFID_BENCH.frame(_row(case, ended[case.clip["clip_id"]], looks, bench, name) for case in cases)
    return Built(bench, pictures, rows)


def _beginnings(
    cases: Sequence[WantedCase],
    persons: Sequence[WantedPerson],
    clips: Mapping[str, Row],
    find: Find,
    engine: EngineInfo,
    feeders: Feeders,
) -> dict[str, Begun | Fault]:
    """Clip to how its case begins: with a frame of its own, else with one that a picture of its person was cut from."""

    def first_frames(wanted: Sequence[tuple[Row, tuple[Moment, ...]]]) -> list[FirstFrame | Fault | None]:
        places = find([clip for clip, _ in wanted])
        tasks = [
            FirstFrameTask(
                clip["clip_id"], places.get(clip["clip_id"]), clip["content_sha256"], clip["duration_s"], moments, engine.name
            )
            for clip, moments in wanted
        ]
        return _look(tasks, bench_looks.find_first_frame, _decoding_s, feeders)

    posed = [(case.clip, tuple(moment for moment in case.moments if moment.yaw_deg is not None)) for case in cases]
    found = {case.clip["clip_id"]: frame for case, frame in zip(cases, first_frames(posed), strict=True)}
    borrowers = {clips[clip_id]["identity_id"] for clip_id, frame in found.items() if frame is None}
    asked: list[tuple[Row, tuple[Moment, ...]]] = []
    for person in (person for person in persons if person.identity_id in borrowers):
        frontal_first = [*person.pictures[:1], *sorted(person.pictures[1:], key=lambda picture: abs(picture.yaw_deg))]
        for lender in list(dict.fromkeys(picture.clip_id for picture in frontal_first))[:MOST_LENDERS]:
            of_lender = (picture for picture in frontal_first if picture.clip_id == lender)
            moments = tuple(Moment(0.0, picture.frame_index, picture.box, picture.yaw_deg, None) for picture in of_lender)
            asked.append((clips[lender], moments))
    lent: dict[str, FirstFrame] = {}
    for (clip, _), frame in zip(asked, first_frames(asked), strict=True):
        if isinstance(frame, FirstFrame):
            lent.setdefault(clip["identity_id"], frame)
    return {case.clip["clip_id"]: _begin(case, found[case.clip["clip_id"]], lent.get(case.clip["identity_id"])) for case in cases}


def _begin(case: WantedCase, own: FirstFrame | Fault | None, lent: FirstFrame | None) -> Begun | Fault:
    if isinstance(own, Fault):
        return own
    if own is not None:
        moment = own.moment
        centre = face_centre_xy_px(case.clip["face_track"], moment.time_s, case.clip["duration_s"]) or _middle(moment)
        return Begun(case, "window", own, moment.time_s, centre)
    if lent is not None:
        return Begun(case, "gallery", lent, 0.0, _middle(lent.moment))
    reason = Reason.POSE_UNKNOWN if case.moments else Reason.NO_FACE
    return Fault(Status.REJECTED, reason, "no frame of the clip, and none of its person's pictures, can condition a model")


def _looks(
    persons: Sequence[WantedPerson],
    strangers: Sequence[WantedPerson],
    begun: Iterable[Begun | Fault],
    store: FileStore,
    engine: EngineInfo,
    feeders: Feeders,
) -> dict[str, Looks | Fault]:
    """Everybody's gallery and photos. A frame that a model is given is in neither."""
    given = {(one.frame.clip_id, one.frame.moment.frame_index) for one in begun if isinstance(one, Begun)}
    tasks = []
    for person in persons:
        others = tuple(picture for picture in person.pictures if (picture.clip_id, picture.frame_index) not in given)
        tasks.append(LooksTask(person._replace(pictures=others), store.uri, engine.name, with_photos=True))
    tasks += [LooksTask(person, store.uri, engine.name, with_photos=False) for person in strangers]
    found = _look(tasks, bench_looks.look_at, _looking_s, feeders)
    return {task.person.identity_id: ending for task, ending in zip(tasks, found, strict=True)}


def _with_gallery(one: Begun | Fault, looks: Looks | Fault) -> Begun | Fault:
    """A case without a gallery of its person cannot be measured."""
    if isinstance(one, Fault):
        return one
    if isinstance(looks, Fault):
        return looks._replace(detail=f"its person's pictures: {looks.detail}")
    if not looks.gallery:
        told = "no picture of its person, beside those that models are given, shows a face that is found again"
        return Fault(Status.REJECTED, Reason.NO_FACE, told)
    return one


def _known(people: Sequence[WantedPerson], looks: Mapping[str, Looks | Fault]) -> list[Looks]:
    """The persons who have a gallery."""
    known = []
    for name in (person.identity_id for person in people):
        shown = looks[name]
        if isinstance(shown, Fault):
            LOGGER.warning("the bench goes without %s, whose pictures could not be looked at: %s", name, shown.detail)
        elif shown.gallery:
            known.append(shown)
    return known


def _look(
    tasks: Sequence[Task], work: Callable[[Task], Found], deadline_s: Callable[[Task], float], feeders: Feeders
) -> list[Found | Fault]:
    found: dict[int, Found | Fault] = {}
    endings = map_footage(work, tasks, deadline_s, Children(len(feeders) or None, feeders), footage_of=_footage_of)
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


def _middle(moment: Moment) -> tuple[float, float]:
    x1, y1, x2, y2 = moment.box
    return (x1 + x2) / 2, (y1 + y2) / 2


def _facts(
    begun: Sequence[Begun],
    own: Sequence[Looks],
    strangers: Sequence[Looks],
    clips: Mapping[str, Row],
    engine: EngineInfo,
    name: str,
    pictures: Pictures,
) -> BenchFacts:
    """The bench's records; the pictures that they name are put into `pictures`."""
    photos = {looks.identity_id: placed_photos(number, looks, pictures) for number, looks in enumerate(own)}
    cases = [_case(number, one, photos[one.wanted.clip["identity_id"]], pictures) for number, one in enumerate(begun)]
    people = [
        _person(number, looks, [case.clip_id for case in cases if case.identity_id == looks.identity_id], clips, pictures)
        for number, looks in enumerate([*own, *strangers])
    ]
    persons, others = tuple(people[: len(own)]), tuple(people[len(own) :])
    return BenchFacts(
        name=name,
        dataset_version=begun[0].wanted.clip["dataset_version"],
        engine=MeasuringEngine(
            name=engine.name, version=engine.version, width=engine.embedding_dim, fingerprint=engine.fingerprint
        ),
        persons=persons,
        strangers=others,
        cases=tuple(cases),
        bounds=bounds_of(persons, others),
        licences=_licences([clips[clip.clip_id] for person in people for clip in person.clips], engine),
    )


def _person(number: int, looks: Looks, cases: Sequence[str], clips: Mapping[str, Row], pictures: Pictures) -> Person:
    gallery = []
    for index, (picture, png, angles, expression, embedding) in enumerate(looks.gallery):
        path = f"galleries/{number:03d}/{index:02d}.png"
        pictures[path] = png
        posed = dict(zip(("yaw_deg", "pitch_deg", "roll_deg"), angles or (None,) * 3, strict=True))
        measured = {"expression": expression, "embedding": embedding, "clip_id": picture.clip_id, "pts": picture.pts}
        gallery.append(GalleryFace.model_validate({"path": path, **posed, **measured}))
    used = {face.clip_id for face in gallery} | {clip for clip, _ in looks.photos} | {*cases}
    sources = [SourceClip(**{name: clips[clip][name] for name in SourceClip.model_fields}) for clip in sorted(used)]
    return Person(identity_id=looks.identity_id, gallery=tuple(gallery), clips=tuple(sources))


def placed_photos(number: int, looks: Looks, pictures: Pictures) -> list[tuple[str, str]]:
    """(clip, path) of each of a person's photos, put into `pictures`."""
    placed = []
    for index, (clip_id, png) in enumerate(looks.photos):
        path = f"photos/{number:03d}/{index:02d}.png"
        pictures[path] = png
        placed.append((clip_id, path))
    return placed


def photos_of(clip_id: str, photos: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Paths of those that a case gets of its person's (clip, path): those of other clips first."""
    return tuple(path for _, path in sorted(photos, key=lambda photo: photo[0] == clip_id)[:PHOTOS_OF_A_CASE])


def _case(number: int, one: Begun, photos: Sequence[tuple[str, str]], pictures: Pictures) -> Case:
    clip, path = one.wanted.clip, f"first_frames/{number:03d}.png"
    pictures[path] = one.frame.png
    shown = reached(one.wanted.moments, one.start_s)
    same = ("clip_id", "content_sha256", "identity_id", "speaking_status", "source", "licence")
    return Case(
        **{name: clip[name] for name in same},
        case_id=clip["clip_id"],
        prompt=clip["refined_caption"] or "",
        seed=one.wanted.seed,
        begins=one.begins,
        first_frame=path,
        start_s=one.start_s,
        centre_xy_px=one.centre_xy_px,
        photos=photos_of(clip["clip_id"], photos),
        width=one.frame.width,
        height=one.frame.height,
        duration_s=max(clip["duration_s"] - one.start_s, 0.0),
        target_yaw_deg=shown.target_yaw_deg,
        reached_yaw_deg=shown.yaw_deg,
        yaw_bin=shown.yaw_bin,
        expression_bin=shown.expression_bin,
    )


def _licences(clips: Sequence[Row], engine: EngineInfo) -> dict[str, str]:
    """Licences of the clips by their source, and of every model that measured them, wrote down their words or cut them out."""
    found: dict[str, set[str]] = {engine.name: {engine.licence}}
    for clip in clips:
        named = [line.rpartition(": ") for line in clip["model_licences"]]
        for whose, licence in ((clip["source"], clip["licence"]), *((model, terms) for model, _, terms in named)):
            found.setdefault(whose, set()).add(licence)
    return {whose: "; ".join(sorted(found[whose])) for whose in sorted(found)}


def _row(
    case: WantedCase, ended: Begun | Fault, looks: Mapping[str, Looks | Fault], bench: Bench | None, name: str
) -> dict[str, Any]:
    clip, own = case.clip, looks[case.clip["identity_id"]]
    begun, fault = (None, ended) if isinstance(ended, Fault) else (ended, None)
    shown = reached(case.moments, begun.start_s if begun else 0.0)
    drawn = bench and next((one for one in bench.cases if one.clip_id == clip["clip_id"]), None)
    return {name: clip[name] for name in FROM_THE_DATASET} | {
        "bench_version": bench and bench.version,
        "bench_path": bench and folder_of(bench.version),
        "bench_name": name,
        "why": case.why,
        "seed": case.seed,
        "begins": begun and begun.begins,
        "start_s": begun and begun.start_s,
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
