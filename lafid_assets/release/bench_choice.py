"""Which clips of the test split a bench asks for, and which pictures of their persons come into question.

Belongs here: rows of the dataset and what was measured of the faces -> what is to be looked at. Not here: looking
(`bench_looks`), what is made of it (`bench_building`), the order among equals (`training.balanced_choice`).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lafid_assets.dataset.references import ANGLES, LEAST_SCALES, NEARLY_FRONTAL_DEG, STEP
from lafid_assets.schemas.measures import EXPRESSIONS
from lafid_assets.training.balanced_choice import Candidate, take_turns
from model.face_engine.interface import Box
from model.face_engine.rotations import rotation_from_angles
from model.face_engine.view_spread import farthest_first, pose_gaps_deg
from model.likeness import expression_bin, yaw_bin

PICTURES_OF_A_PERSON, PICTURES_OF_A_STRANGER = 24, 4
"""That are looked at; a gallery is made of those that show the face again."""
FEWEST_PERSONS = 6
"""Fewer in the test split are compared with strangers of other splits, too: one alone has nobody to be unlike."""
MOST_SORTED = 400
"""Pictures of a person that are spread over poses; further ones show nothing new and cost their square."""
_POSE_COUNTS = 0.75
"""Of how far apart two pictures are, beside that they are two: many of one pose may differ in expression."""
TARGETS = 17
"""How many yaws a case states of its clip."""
FACE_COLUMNS = ("clip_id", "frame_index", "face_index", *EXPRESSIONS)
"""What is read of `face_info`."""
_ORDER = ("eye_opening", "brow_height", "mouth_width", "mouth_opening")
"""Of expressions in a bench."""

Row = Mapping[str, Any]
Expression = tuple[float, float, float, float]


class Moment(NamedTuple):
    """The main face in one analysed frame; what was not measured is None."""

    time_s: float
    frame_index: int
    box: Box
    yaw_deg: float | None
    expression: Expression | None


class Reached(NamedTuple):
    """What the face of a clip does from a moment on."""

    yaw_deg: float | None
    yaw_bin: str
    expression_bin: str
    target_yaw_deg: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class WantedCase:
    """A clip that is asked for.

    Attributes:
        clip: its row of `lafid_dataset`.
        moments: those that show its main face, in order.
    """

    clip: Row
    moments: tuple[Moment, ...]
    seed: int
    why: str


class CandidatePicture(NamedTuple):
    """A reference that was cut out of a clip.

    Attributes:
        face_path, head_path: in the store.
    """

    clip_id: str
    pts: int
    frame_index: int
    box: Box
    face_path: str
    head_path: str
    sharpness: float
    yaw_deg: float


class WantedPerson(NamedTuple):
    """A person and the pictures that come into question, sharp and frontal first, then spread over poses."""

    identity_id: str
    pictures: tuple[CandidatePicture, ...]


def choose_cases(test: pl.DataFrame, faces: pl.DataFrame, most: int, seed: int) -> list[WantedCase]:
    """Clips in the order of their choice: persons take turns, then how far the head turns, expression and speech.

    Args:
        test: rows of `lafid_dataset` of the test split.
        faces: `FACE_COLUMNS` of its clips.
        seed: another one chooses others among equals, and draws from other noise.
    """
    moments = _moments(test, faces)
    strata = _strata(test, moments)
    strata.sort(key=lambda one: (_digest(seed, one.identity_id), _digest(seed, one.clip_id)))
    chosen = take_turns(strata, most)
    names = [one.clip_id for one in chosen]
    clips = {clip["clip_id"]: clip for clip in test.filter(pl.col("clip_id").is_in(names)).iter_rows(named=True)}
    seen: dict[str, list[Moment]] = {name: [] for name in names}
    for row in moments.filter(pl.col("clip_id").is_in(names)).iter_rows(named=True):
        seen[row["clip_id"]].append(_moment(row))
    return [WantedCase(clips[name], tuple(seen[name]), _noise(seed, name), why) for name, why in chosen]


def choose_persons(test: pl.DataFrame, cases: Sequence[WantedCase]) -> list[WantedPerson]:
    """The persons of the cases, in their order, with pictures of all their clips in the split."""
    named = dict.fromkeys(case.clip["identity_id"] for case in cases)
    return [_person(name, test.filter(identity_id=name), PICTURES_OF_A_PERSON) for name in named]


def stranger_names(others: pl.DataFrame, persons: int, most: int) -> list[str]:
    """Persons of other splits with whom a bench of so few persons compares its own: those that validate before those that train,
    in an order that stays; none where there are enough.

    Args:
        others: `identity_id` and `split` of rows of other splits.
        persons: in the test split.
        most: cases.
    """
    missing = FEWEST_PERSONS - min(persons, most) if persons else 0
    in_order = sorted(others.unique().iter_rows(), key=lambda one: (one[1] != "validation", _digest(0, one[0])))
    return [name for name, _ in in_order[: max(missing, 0)]]


def strangers_of(rows: pl.DataFrame) -> list[WantedPerson]:
    """All persons of these rows of `lafid_dataset`, with a few pictures each."""
    return [_person(name, rows.filter(identity_id=name), PICTURES_OF_A_STRANGER) for name in sorted(rows["identity_id"].unique())]


def reached(moments: Sequence[Moment], start_s: float) -> Reached:
    """What the face does from `start_s` on: how far it turns, whether its expression changes against the first one there."""
    later = [moment for moment in moments if moment.time_s >= start_s]
    yaws = [(moment.time_s, moment.yaw_deg) for moment in later if moment.yaw_deg is not None]
    farthest = max((abs(yaw) for _, yaw in yaws), default=None)
    shown = [moment.expression for moment in later if moment.expression is not None]
    change = float(np.abs(np.subtract(shown, shown[0])).max()) if len(shown) > 1 else None
    targets: tuple[float, ...] = ()
    if yaws:
        at_s = np.linspace(start_s, later[-1].time_s, TARGETS)
        times_s, known = np.array(yaws).T
        targets = tuple(round(float(yaw), 3) for yaw in np.interp(at_s, times_s, known))
    return Reached(farthest, yaw_bin(farthest), expression_bin(change), targets)


def _moments(test: pl.DataFrame, faces: pl.DataFrame) -> pl.DataFrame:
    """The analysed frames that show the main face, clip by clip, with its expression where it was measured."""
    places = test.select("clip_id", place="face_track").explode("place").drop_nulls("place").unnest("place")
    keys = ("clip_id", "frame_index", "face_index")
    return places.drop_nulls("face_index").join(faces.select(FACE_COLUMNS), on=keys, how="left").sort("clip_id", "time_s")


def _strata(test: pl.DataFrame, moments: pl.DataFrame) -> list[Candidate]:
    """What each clip shows over all of it, as `reached` says it of a chosen one."""
    known = moments.with_columns(_measured=pl.all_horizontal(pl.col(name).is_not_null() for name in EXPRESSIONS))
    shown = [pl.col(name).filter("_measured") for name in EXPRESSIONS]
    changes = [(one - one.first()).abs().max().alias(f"_{name}") for one, name in zip(shown, EXPRESSIONS, strict=True)]
    reaches = known.group_by("clip_id").agg(*changes, yaw=pl.col("yaw_deg").abs().max(), shown=pl.col("_measured").sum())
    change = pl.when(pl.col("shown") > 1).then(pl.max_horizontal(f"_{name}" for name in EXPRESSIONS))
    clips = test.select("clip_id", "identity_id", "speaking_status").join(reaches, on="clip_id", how="left")
    rows = clips.select("clip_id", "identity_id", "speaking_status", "yaw", change=change)
    return [
        Candidate(clip_id, person, (yaw_bin(yaw), expression_bin(change), speaking))
        for clip_id, person, speaking, yaw, change in rows.iter_rows()
    ]


def _moment(row: Row) -> Moment:
    box = (row["box_x1"], row["box_y1"], row["box_x2"], row["box_y2"])
    return Moment(row["time_s"], row["frame_index"], box, row["yaw_deg"], _expression(row))


def _expression(face: Row) -> Expression | None:
    eyes, brows, width, opening = (face[name] for name in _ORDER)
    if eyes is None or brows is None or width is None or opening is None:
        return None
    return eyes, brows, width, opening


def _person(identity_id: str, clips: pl.DataFrame, most: int) -> WantedPerson:
    """Of many pictures the first of each clip come before the second of any."""
    ranked = clips.select("clip_id", rank=pl.int_ranges(pl.col("references").list.len()), reference="references")
    pictures = (
        ranked.explode("rank", "reference")
        .unnest("reference")
        .drop_nulls(["face_path", "head_path", "sharpness", *ANGLES])
        .sort("rank", "clip_id")
        .head(MOST_SORTED)
    )
    if pictures.is_empty():
        return WantedPerson(identity_id, ())
    yaw, sharpness = pictures["yaw_deg"].abs().to_numpy(), pictures["sharpness"].to_numpy()
    gaps = pose_gaps_deg(rotation_from_angles(*(pictures[name].to_numpy() for name in ANGLES)))
    apart = _POSE_COUNTS * gaps / max(gaps.max(), LEAST_SCALES["pose"]) + (1 - _POSE_COUNTS) * (1 - np.eye(len(gaps)))
    order = farthest_first(apart, sharpest_frontal(yaw, sharpness), most, sharpness, STEP)
    return WantedPerson(identity_id, tuple(_picture(row) for row in pictures[order].iter_rows(named=True)))


def sharpest_frontal(yaw_deg: NDArray[np.float64], sharpness: NDArray[np.float64]) -> int:
    """Which of N pictures is the sharpest of those about as frontal as the most frontal one."""
    turned = np.abs(yaw_deg)
    return int(np.where(turned <= turned.min() + NEARLY_FRONTAL_DEG, sharpness, -np.inf).argmax())


def _picture(row: Row) -> CandidatePicture:
    box = (row["box_x1"], row["box_y1"], row["box_x2"], row["box_y2"])
    paths = (row["face_path"], row["head_path"])
    return CandidatePicture(row["clip_id"], row["pts"], row["frame_index"], box, *paths, row["sharpness"], row["yaw_deg"])


def _digest(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}/{name}".encode()).digest()


def _noise(seed: int, clip_id: str) -> int:
    """The same of a clip in every bench of that seed."""
    return int.from_bytes(_digest(seed, clip_id)[:4]) >> 1
