"""LaFID-Bench: a folder that says what every model is asked to draw, and whom it must look like.

    bench.json        the records of this module; every path in it is relative to the folder
    first_frames/     a PNG a case: the frame that a model is given
    galleries/        PNGs of each person over poses and expressions

Belongs here: the records, reading, writing and verifying the folder. Not here: which clips make it (`lafid_assets.release`), what
its bounds are measured from (`bounds`), other benchmarks' files (`opens2v`).
"""

import hashlib
import json
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from model.files import sha256_folder

FORMAT: Final = 1
BENCH_FILE: Final = "bench.json"


class BenchError(ValueError):
    """A bench is missing, torn, of another format, or does not fit; the message names it and the remedy."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MeasuringEngine(_Frozen):
    """The face engine of the gallery's embeddings and of the bounds: another's similarities are not comparable."""

    name: str
    version: str
    width: int
    fingerprint: str


class GalleryFace(_Frozen):
    """One picture of a person. Angles and expression are None where the engine measured none."""

    path: str
    yaw_deg: float | None
    pitch_deg: float | None
    roll_deg: float | None
    expression: tuple[float, float, float, float] | None
    """Eye opening, brow height, mouth width and mouth opening, shares of the face's height."""
    embedding: tuple[float, ...]
    """Of unit length, by the bench's engine."""
    clip_id: str
    pts: int
    """Of the frame, in units of the clip's time base."""


class Person(_Frozen):
    """A person that no model may have been trained on, and how they look."""

    identity_id: str
    gallery: tuple[GalleryFace, ...]
    """At least one; the first is sharp and frontal, each further one as far as can be from all before it."""


class Case(_Frozen):
    """One video to draw."""

    case_id: str
    clip_id: str
    content_sha256: str
    """Of the clip's file."""
    identity_id: str
    prompt: str
    seed: int
    begins: Literal["window", "gallery"]
    """Whether the first frame is of the clip's window, or of the gallery, where no frame of the window can condition a model."""
    first_frame: str
    """The whole frame, uncut."""
    centre_xy_px: tuple[float, float]
    """Around what the first frame is cut to a model's size."""
    photos: tuple[str, ...]
    """Further pictures of the person that a model with references may use; of other clips where there are any."""
    width: int
    height: int
    """Of the first frame, px."""
    duration_s: float
    """Of the clip from its first frame on."""
    target_yaw_deg: tuple[float, ...]
    """Of the clip's face over its window, at even distances: where it turned."""
    reached_yaw_deg: float | None
    yaw_bin: str
    expression_bin: str
    speaking_status: str
    source: str
    licence: str


class BinBounds(_Frozen):
    """What similarity means in one bin: of pairs of pictures whose pose or expression falls into it."""

    stranger_floor: float | None
    """Mean cosine of different persons; None where there are no such pairs."""
    same_person_ceiling: float | None
    """Mean cosine of one person in different clips, or at different times of one clip where there is no other."""
    stranger_pairs: int
    same_person_pairs: int


class Bench(_Frozen):
    """`bench.json`."""

    format_version: Literal[1] = FORMAT
    name: str
    version: str
    """Hash over all that decides what is drawn and measured: equal versions are equal benches."""
    dataset_version: str
    split: Literal["test"] = "test"
    engine: MeasuringEngine
    persons: tuple[Person, ...]
    cases: tuple[Case, ...]
    bounds: dict[str, BinBounds]
    """By yaw bin and expression bin, as `model.likeness` names them."""
    licences: dict[str, str]
    """Whose data or weights -> licence."""
    files_sha256: str
    """Over the folder's pictures."""

    @model_validator(mode="after")
    def _persons_are_known(self) -> Self:
        known = {person.identity_id for person in self.persons}
        if strange := [case.case_id for case in self.cases if case.identity_id not in known]:
            raise ValueError(f"case {strange[0]} shows a person without a gallery")
        return self

    def person(self, identity_id: str) -> Person:
        """Whose gallery it is."""
        return next(person for person in self.persons if person.identity_id == identity_id)


def read_bench(folder: Path) -> Bench:
    """The bench in `folder`; its pictures are not read.

    Raises:
        BenchError: there is none, or another format's.
    """
    path = folder / BENCH_FILE
    try:
        return Bench.model_validate(json.loads(path.read_text()))
    except FileNotFoundError:
        raise BenchError(f"{folder} holds no bench: {BENCH_FILE} is missing; make one with `lafid bench`") from None
    except (json.JSONDecodeError, ValidationError) as error:
        raise BenchError(f"{path} is no bench of format {FORMAT}: {error}") from error


def verify_bench(folder: Path) -> Bench:
    """`read_bench`, with every picture compared with the recorded hash.

    Raises:
        BenchError: there is none, or a picture is missing or changed.
    """
    bench = read_bench(folder)
    found = pictures_sha256(folder)
    if found != bench.files_sha256:
        raise BenchError(
            f"pictures of {folder} are missing or changed (sha256 {found[:12]}, not {bench.files_sha256[:12]}): copy it again"
        )
    return bench


def pictures_sha256(folder: Path) -> str:
    """Over names and contents of all pictures of a bench."""
    parts = [sha256_folder(folder / name) for name in ("first_frames", "galleries")]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()
