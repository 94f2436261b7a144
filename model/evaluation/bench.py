"""LaFID-Bench: a folder that says what every model is asked to draw, and whom it must look like.

    bench.json        the records of this module; every path in it is relative to the folder
    first_frames/     a PNG a case: the frame that a model is given
    galleries/        PNGs of each person over poses and expressions: whom a drawn face is compared with
    photos/           PNGs that a model with references may be given beside the first frame

No frame that a model is given is in a gallery: nobody is measured against the picture that was shown.

A folder can be moved and copied: `verify_bench` says whether it came over whole.

Belongs here: the records, reading, writing and verifying the folder. Not here: which clips make it (`lafid_assets.release`), what
its bounds are measured from (`bounds`), other benchmarks' files (`opens2v`).
"""

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, Self

import numpy as np
from PIL import Image as PilImage
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from model.face_engine.interface import Image
from model.files import sha256_file, whole_folder

FORMAT: Final = 1
BENCH_FILE: Final = "bench.json"
VERSION_CHARS = 16
_UNIT = 1e-3
"""By how much the length of an embedding may differ from 1."""

PicturePath = Annotated[str, Field(pattern=r"^(first_frames|galleries|photos)(/[0-9A-Za-z_-]+)+\.png$")]
"""Relative to the folder, and never out of it."""
Yaw = Annotated[float, Field(ge=-180, le=180)]


class BenchError(ValueError):
    """A bench is missing, torn, of another format, or does not fit; the message names it and the remedy."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class MeasuringEngine(_Frozen):
    """The face engine of the gallery's embeddings and of the bounds: another's similarities are not comparable."""

    name: str
    version: str
    width: int = Field(gt=0)
    fingerprint: str


class GalleryFace(_Frozen):
    """One picture of a person. Angles and expression are None where the engine measured none."""

    path: PicturePath
    yaw_deg: Yaw | None
    pitch_deg: float | None
    roll_deg: float | None
    expression: tuple[float, float, float, float] | None
    """Eye opening, brow height, mouth width and mouth opening, shares of the face's height."""
    embedding: tuple[float, ...]
    """An embedding of unit length, by the bench's engine."""
    clip_id: str
    pts: int
    """Timestamp of the frame, in units of the clip's time base."""


class SourceClip(_Frozen):
    """A clip that a person's pictures come from: what must not be trained on."""

    clip_id: str
    content_sha256: str
    """Hash of the clip's file; for a shot, of its recording's."""
    recording_id: str | None
    """The recording that it is a shot of; None: it is the whole file."""
    source: str
    licence: str


class Person(_Frozen):
    """A person that no model may have been trained on, and how they look."""

    identity_id: str
    gallery: tuple[GalleryFace, ...] = Field(min_length=1)
    """The first is sharp and frontal, each further one as far as can be from all before it."""
    clips: tuple[SourceClip, ...] = Field(min_length=1)
    """All that the person's pictures come from: first frames, gallery and photos."""


class Case(_Frozen):
    """One video to draw."""

    case_id: str
    """The clip's id: whoever forgets a clip finds by it what was drawn of it."""
    clip_id: str
    content_sha256: str
    """Hash of the clip's file."""
    identity_id: str
    prompt: str
    seed: int = Field(ge=0)
    begins: Literal["window", "gallery"]
    """Whether the first frame is of the clip, or, where none of it can condition a model, one of those from which pictures of the
    person were cut. It is no gallery picture of its own."""
    first_frame: PicturePath
    """The whole frame, uncut."""
    start_s: float = Field(ge=0)
    """Where the clip's part begins that the case is about, seconds since the clip's first frame."""
    centre_xy_px: tuple[float, float]
    """The point around which the first frame is cut to a model's size."""
    photos: tuple[PicturePath, ...]
    """Further pictures of the person that a model with references may use; of other clips where there are any."""
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    """Side of the first frame, px."""
    duration_s: float = Field(ge=0)
    """Length of the clip from `start_s` on."""
    target_yaw_deg: tuple[Yaw, ...]
    """Of the clip's face from `start_s` on, at even distances from beginning to end: where it turned. Empty where no pose was
    measured."""
    reached_yaw_deg: float | None
    """How far it turned to either side; None where no pose was measured."""
    yaw_bin: str
    expression_bin: str
    speaking_status: str
    source: str
    licence: str


class BinBounds(_Frozen):
    """What similarity means in one bin, measured as drawn faces are (`bounds`)."""

    stranger_floor: float | None
    """Mean cosine of different persons; None where there are no such pairs."""
    same_person_ceiling: float | None
    """Mean cosine of one person in different clips, or at different times of one clip where there is no other."""
    stranger_pairs: int = Field(ge=0)
    same_person_pairs: int = Field(ge=0)


class BenchFacts(_Frozen):
    """What a bench says, before it is sealed."""

    name: str
    dataset_version: str
    """The version it was first made from; another one whose test split says the same has the same bench."""
    split: Literal["test"] = "test"
    engine: MeasuringEngine
    persons: tuple[Person, ...] = Field(min_length=1)
    strangers: tuple[Person, ...] = ()
    """Persons of whom nothing is drawn, and whom a model may know: a bench with few persons compares them with these, too."""
    cases: tuple[Case, ...] = Field(min_length=1)
    bounds: dict[str, BinBounds]
    """Yaw bin or expression bin, as `model.likeness` names them -> its bounds."""
    licences: dict[str, str]
    """Whose data or weights -> licence."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        known = {person.identity_id for person in self.persons}
        everybody = {person.identity_id for person in self.everybody}
        if len(everybody) < len(self.everybody) or len({case.case_id for case in self.cases}) < len(self.cases):
            raise ValueError("a person or a case occurs twice")
        if strange := [case.case_id for case in self.cases if case.identity_id not in known]:
            raise ValueError(f"case {strange[0]} shows a person without a gallery")
        for face in (face for person in self.everybody for face in person.gallery):
            if len(face.embedding) != self.engine.width or abs(float(np.linalg.norm(face.embedding)) - 1) > _UNIT:
                raise ValueError(f"the embedding of {face.path} is not {self.engine.width} numbers of unit length")
        return self

    @property
    def pictures(self) -> list[str]:
        """Paths of all pictures, sorted."""
        of_cases = {path for case in self.cases for path in (case.first_frame, *case.photos)}
        return sorted(of_cases | {face.path for person in self.everybody for face in person.gallery})

    @property
    def everybody(self) -> tuple[Person, ...]:
        """Persons and strangers."""
        return self.persons + self.strangers

    def person(self, identity_id: str) -> Person:
        """The person of that name."""
        return next(person for person in self.persons if person.identity_id == identity_id)


class Bench(BenchFacts):
    """`bench.json`."""

    format_version: Literal[1] = FORMAT
    version: str
    """Hash over all that decides what is drawn and measured: equal versions are equal benches."""
    files_sha256: str
    """Over names and contents of the pictures."""


def seal_bench(facts: BenchFacts, pictures: Mapping[str, bytes]) -> Bench:
    """The bench with its version.

    Raises:
        BenchError: a picture that the facts name is missing.
    """
    if lacking := [path for path in facts.pictures if path not in pictures]:
        raise BenchError(f"the bench {facts.name} names a picture that was not made: {lacking[0]}")
    files = _files_sha256({path: hashlib.sha256(pictures[path]).hexdigest() for path in facts.pictures})
    return Bench(**dict(facts), version=_version(facts, files), files_sha256=files)


def bench_files(bench: Bench, pictures: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """(path, content) of every file of the folder; last the one that makes it a bench."""
    for path in bench.pictures:
        yield path, pictures[path]
    yield BENCH_FILE, (bench.model_dump_json(indent=1) + "\n").encode()


def write_bench(folder: Path, bench: Bench, pictures: Mapping[str, bytes]) -> None:
    """The folder whole or not at all.

    Raises:
        BenchError: there is something already.
    """
    if folder.exists():
        raise BenchError(f"{folder} is there already: name a folder that is not")
    with whole_folder(folder) as temporary:
        for path, content in bench_files(bench, pictures):
            (temporary / path).parent.mkdir(parents=True, exist_ok=True)
            (temporary / path).write_bytes(content)


def read_bench(folder: Path) -> Bench:
    """The bench in `folder`; its pictures are not read.

    Raises:
        BenchError: there is none, or another format's, or it was changed by hand.
    """
    path = folder / BENCH_FILE
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise BenchError(f"{folder} holds no bench: {BENCH_FILE} is missing; make one with `lafid bench`") from None
    return parse_bench(content, path)


def parse_bench(content: bytes, path: Path | str) -> Bench:
    """A bench from what `path` holds.

    Raises:
        BenchError: it is another format's, or was changed by hand.
    """
    try:
        bench = Bench.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise BenchError(
            f"{path} is no bench of format {FORMAT} ({where}: {first['msg']}): copy it again, or make one with `lafid bench`"
        ) from error
    if _version(bench, bench.files_sha256) != bench.version:
        raise BenchError(f"{path} was changed since its version {bench.version} was made: copy it again")
    return bench


def verify_bench(folder: Path) -> Bench:
    """`read_bench`, with every picture compared with the recorded hash.

    Raises:
        BenchError: there is none, or a picture is missing or changed.
    """
    bench = read_bench(folder)
    if lacking := [path for path in bench.pictures if not (folder / path).is_file()]:
        raise BenchError(f"{folder} lacks {len(lacking)} of its pictures, the first {lacking[0]}: copy it again")
    if _files_sha256({path: sha256_file(folder / path) for path in bench.pictures}) != bench.files_sha256:
        raise BenchError(f"a picture of {folder} is another one than when {bench.version} was made: copy it again")
    return bench


def read_bench_picture(folder: Path, path: str) -> Image:
    """(H, W, 3) RGB.

    Raises:
        BenchError: it is missing or no picture.
    """
    try:
        with PilImage.open(folder / path) as picture:
            return np.asarray(picture.convert("RGB"))
    except OSError as error:
        raise BenchError(f"{folder / path} cannot be read ({error}): copy the bench again") from error


def png_of(image: Image) -> bytes:
    """A picture as it lies in the folder: losslessly, the same bytes for the same pixels."""
    buffer = io.BytesIO()
    PilImage.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def _version(facts: BenchFacts, files_sha256: str) -> str:
    told = facts.model_dump(mode="json", include=set(BenchFacts.model_fields) - {"dataset_version"})
    return hashlib.sha256(json.dumps([FORMAT, told, files_sha256], sort_keys=True).encode()).hexdigest()[:VERSION_CHARS]


def _files_sha256(digests: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(sorted(digests.items())).encode()).hexdigest()
