"""A small bench of invented persons, for whoever tests what is done with one.

Its pictures are flat colours, its embeddings of an invented engine: nothing is detected in it.
"""

from pathlib import Path
from typing import Any

import numpy as np

from model.evaluation.bench import (
    Bench,
    BenchFacts,
    BinBounds,
    Case,
    GalleryFace,
    MeasuringEngine,
    Person,
    SourceClip,
    png_of,
    seal_bench,
    write_bench,
)
from model.likeness import EXPRESSION_BINS, YAW_BINS, yaw_bin

WIDTH = 8
ENGINE = MeasuringEngine(name="invented", version="1", width=WIDTH, fingerprint="0" * 64)
YAWS_DEG = (0.0, 30.0, -50.0, 70.0)
BOUNDS = {
    name: BinBounds(stranger_floor=0.2, same_person_ceiling=0.8, stranger_pairs=6, same_person_pairs=4)
    for name in (*YAW_BINS[:-1], *EXPRESSION_BINS[:-1])
}


def small_bench(folder: Path, *, persons: int = 2, cases_each: int = 1, **changes: Any) -> Bench:
    """Writes a valid bench to `folder`, which must not exist yet.

    Each person has four gallery pictures of 48 x 48 px at the yaws of `YAWS_DEG`, from two clips, and one photo; a first frame
    is 64 x 48 px. Person n is `person-n`; the cases of person n are `clip-n-0`, `clip-n-1`, ...

    Args:
        changes: fields of `BenchFacts` to put in place of the invented ones.
    """
    facts, pictures = small_facts(persons=persons, cases_each=cases_each)
    bench = seal_bench(facts.model_copy(update=changes), pictures)
    write_bench(folder, bench, pictures)
    return bench


def small_facts(*, persons: int = 2, cases_each: int = 1) -> tuple[BenchFacts, dict[str, bytes]]:
    """What `small_bench` writes: the facts, and path to PNG."""
    pictures: dict[str, bytes] = {}
    people = [_person(number, pictures) for number in range(persons)]
    cases = [_case(person, number, pictures) for person in range(persons) for number in range(cases_each)]
    facts = BenchFacts(
        name="small",
        dataset_version="d" * 16,
        engine=ENGINE,
        persons=tuple(people),
        cases=tuple(cases),
        bounds=BOUNDS,
        licences={"invented clips": "CC0-1.0", "invented": "MIT"},
    )
    return facts, pictures


def direction(person: int, picture: int) -> tuple[float, ...]:
    """Of unit length: pictures of one person have a cosine of 0.9 or more, those of two persons one of at most 0.3."""
    vector = np.zeros(WIDTH)
    vector[person % (WIDTH - 1)] = 1.0
    vector[-1] = 0.1 * picture
    return tuple((vector / np.linalg.norm(vector)).tolist())


def _person(number: int, pictures: dict[str, bytes]) -> Person:
    faces = []
    for index, yaw in enumerate(YAWS_DEG):
        path = f"galleries/{number:03d}/{index:02d}.png"
        pictures[path] = _flat(48, 48, 40 * number + 5 * index)
        faces.append(
            GalleryFace(
                path=path,
                yaw_deg=yaw,
                pitch_deg=0.0,
                roll_deg=0.0,
                expression=(0.1, 0.2, 0.4, 0.02 * index) if abs(yaw) < 45 else None,
                embedding=direction(number, index),
                clip_id=f"clip-{number}-{index % 2}",
                pts=100 * index,
            )
        )
    pictures[f"photos/{number:03d}/00.png"] = _flat(48, 48, 40 * number + 30)
    clips = [
        SourceClip(
            clip_id=f"clip-{number}-{index}",
            content_sha256=f"{number}{index}" * 32,
            recording_id=None,
            source="invented clips",
            licence="CC0-1.0",
        )
        for index in range(2)
    ]
    return Person(identity_id=f"person-{number}", gallery=tuple(faces), clips=tuple(clips))


def _case(person: int, number: int, pictures: dict[str, bytes]) -> Case:
    path = f"first_frames/{person:03d}_{number:03d}.png"
    pictures[path] = _flat(48, 64, 40 * person + 7 * number)
    reached = abs(YAWS_DEG[number % len(YAWS_DEG)])
    return Case(
        case_id=f"clip-{person}-{number}",
        clip_id=f"clip-{person}-{number}",
        content_sha256=f"{person}{number}" * 32,
        identity_id=f"person-{person}",
        prompt=f"Person {person} turns the head.",
        seed=number,
        begins="window",
        first_frame=path,
        start_s=0.0,
        centre_xy_px=(32.0, 24.0),
        photos=(f"photos/{person:03d}/00.png",),
        width=64,
        height=48,
        duration_s=2.0,
        target_yaw_deg=(0.0, reached / 2, reached),
        reached_yaw_deg=reached,
        yaw_bin=yaw_bin(reached),
        expression_bin=EXPRESSION_BINS[number % 2],
        speaking_status="silent",
        source="invented clips",
        licence="CC0-1.0",
    )


def _flat(height: int, width: int, value: int) -> bytes:
    return png_of(np.full((height, width, 3), value % 256, np.uint8))
