"""What was looked at -> the bench's records and the pictures that they name.

Belongs here: records. Not here: looking (`bench_looks`), the tasks and the table's rows (`bench_building`), the records' form
(`model.evaluation.bench`).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from lafid_assets.release.bench_choice import WantedCase, reached
from lafid_assets.release.bench_looks import FirstFrame, Looks, SeenPicture
from model.evaluation.bench import BenchFacts, Case, GalleryFace, MeasuringEngine, Person, SourceClip
from model.evaluation.bounds import bounds_of
from model.face_engine.interface import EngineInfo

PHOTOS_OF_A_CASE = 3
Row = Mapping[str, Any]


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


class Known(NamedTuple):
    """A person with a gallery."""

    identity_id: str
    looks: Looks


def records_of(
    begun: Sequence[Begun],
    persons: Sequence[Known],
    strangers: Sequence[Known],
    clips: Mapping[str, Row],
    engine: EngineInfo,
    name: str,
) -> tuple[BenchFacts, dict[str, bytes]]:
    """The facts, and path to PNG.

    Args:
        begun: cases, whose persons are all in `persons`.
        clips: id to the row of `lafid_dataset`, of every clip that a picture comes from.
    """
    pictures: dict[str, bytes] = {}
    photos = {known.identity_id: placed_photos(number, known.looks, pictures) for number, known in enumerate(persons)}
    cases = [_case(number, one, photos[one.wanted.clip["identity_id"]], pictures) for number, one in enumerate(begun)]
    shown = [[case.clip_id for case in cases if case.identity_id == known.identity_id] for known in persons]
    people = [
        _person(number, known, of_cases, clips, pictures)
        for number, (known, of_cases) in enumerate(zip([*persons, *strangers], [*shown, *([] for _ in strangers)], strict=True))
    ]
    own, others = people[: len(persons)], people[len(persons) :]
    facts = BenchFacts(
        name=name,
        dataset_version=begun[0].wanted.clip["dataset_version"],
        engine=MeasuringEngine(
            name=engine.name, version=engine.version, width=engine.embedding_dim, fingerprint=engine.fingerprint
        ),
        persons=tuple(own),
        strangers=tuple(others),
        cases=tuple(cases),
        bounds=bounds_of(own, others),
        licences=_licences([clips[clip.clip_id] for person in people for clip in person.clips], engine),
    )
    return facts, pictures


def _person(number: int, known: Known, of_cases: Iterable[str], clips: Mapping[str, Row], pictures: dict[str, bytes]) -> Person:
    gallery = []
    for index, seen in enumerate(known.looks.gallery):
        path = f"galleries/{number:03d}/{index:02d}.png"
        pictures[path] = seen.png
        gallery.append(_face(path, seen))
    used = {seen.picture.clip_id for seen in known.looks.gallery} | {clip for clip, _ in known.looks.photos} | {*of_cases}
    return Person(
        identity_id=known.identity_id, gallery=tuple(gallery), clips=tuple(_source(clips[clip]) for clip in sorted(used))
    )


def _face(path: str, seen: SeenPicture) -> GalleryFace:
    yaw, pitch, roll = seen.angles_deg or (None, None, None)
    return GalleryFace(
        path=path,
        yaw_deg=yaw,
        pitch_deg=pitch,
        roll_deg=roll,
        expression=seen.expression,
        embedding=seen.embedding,
        clip_id=seen.picture.clip_id,
        pts=seen.picture.pts,
    )


def _source(clip: Row) -> SourceClip:
    return SourceClip(**{name: clip[name] for name in SourceClip.model_fields})


def photos_of(clip_id: str, photos: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Paths of those that a case gets of its person's (clip, path): those of other clips first."""
    return tuple(path for _, path in sorted(photos, key=lambda photo: photo[0] == clip_id)[:PHOTOS_OF_A_CASE])


def placed_photos(number: int, looks: Looks, pictures: dict[str, bytes]) -> list[tuple[str, str]]:
    """(clip, path) of each of a person's photos, put into `pictures`."""
    placed = []
    for index, (clip_id, png) in enumerate(looks.photos):
        path = f"photos/{number:03d}/{index:02d}.png"
        pictures[path] = png
        placed.append((clip_id, path))
    return placed


def _case(number: int, one: Begun, photos: Sequence[tuple[str, str]], pictures: dict[str, bytes]) -> Case:
    clip = one.wanted.clip
    path = f"first_frames/{number:03d}.png"
    assert one.frame.png is not None
    pictures[path] = one.frame.png
    shown = reached(one.wanted.moments, one.start_s)
    return Case(
        case_id=clip["clip_id"],
        clip_id=clip["clip_id"],
        content_sha256=clip["content_sha256"],
        identity_id=clip["identity_id"],
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
        speaking_status=clip["speaking_status"],
        source=clip["source"],
        licence=clip["licence"],
    )


def _licences(clips: Sequence[Row], engine: EngineInfo) -> dict[str, str]:
    """Of the clips by their source, and of every model that measured them, wrote down their words or cut them out."""
    found: dict[str, set[str]] = {engine.name: {engine.licence}}
    for clip in clips:
        named = [line.rpartition(": ") for line in clip["model_licences"]]
        for whose, licence in ((clip["source"], clip["licence"]), *((model, terms) for model, _, terms in named)):
            found.setdefault(whose, set()).add(licence)
    return {whose: "; ".join(sorted(found[whose])) for whose in sorted(found)}
