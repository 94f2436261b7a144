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

from lafid_assets.constraints.window import WINDOW_COLUMNS
from lafid_assets.dataset.references import ANGLES, LEAST_SCALES, NEARLY_FRONTAL_DEG, STEP
from lafid_assets.schemas.measures import EXPRESSIONS
from lafid_assets.training.balanced_choice import Candidate, take_turns
from model.face_engine.interface import Box
from model.face_engine.rotations import rotation_from_angles
from model.face_engine.view_spread import farthest_first, pose_gaps_deg
from model.likeness import expression_bin, yaw_bin

PICTURES_OF_A_PERSON, PICTURES_OF_A_STRANGER = 24, 4
"""How many are looked at; the gallery takes those that show the face again."""
FEWEST_PERSONS = 6
"""Fewer in the test split are compared with strangers of other splits, too: one alone has nobody to be unlike."""
MOST_SORTED = 400
"""Pictures of a person that are spread over poses; further ones show nothing new and cost their square."""
_POSE_COUNTS = 0.75
"""Share of the pose in the distance of two pictures; the rest counts that they are two, for expressions may differ."""
TARGETS = 17
"""How many yaws a case states of its clip."""
FACE_COLUMNS = ("clip_id", "frame_index", "face_index", *EXPRESSIONS)
"""What is read of `face_info`."""
_ORDER = ("eye_opening", "brow_height", "mouth_width", "mouth_opening")

Row = Mapping[str, Any]
Expression = tuple[float, ...]
"""Four numbers in the order of a bench."""


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
    """A reference that was cut out of a clip. `face_path`, `head_path`: in the store."""

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
    seen = _seen(test, faces)
    candidates = []
    for clip_id, person, speaking in test.select("clip_id", "identity_id", "speaking_status").iter_rows():
        shown = reached(_moments(seen, clip_id), 0.0)
        candidates.append(Candidate(clip_id, person, (shown.yaw_bin, shown.expression_bin, speaking)))
    candidates.sort(key=lambda one: (_digest(seed, one.identity_id), _digest(seed, one.clip_id)))
    chosen = take_turns(candidates, most)
    clips = test.filter(pl.col("clip_id").is_in([one.clip_id for one in chosen]))
    rows = {clip["clip_id"]: clip for clip in clips.iter_rows(named=True)}
    return [WantedCase(rows[name], _moments(seen, name), _noise(seed, name), why) for name, why in chosen]


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


def _seen(test: pl.DataFrame, faces: pl.DataFrame) -> dict[tuple[Any, ...], pl.DataFrame]:
    """Clip to the analysed frames of its window that show the main face, in order, with its expression where it was measured."""
    listed = test.select("clip_id", *WINDOW_COLUMNS, place="face_track").explode("place").drop_nulls("place").unnest("place")
    start_s, end_s = map(pl.col, WINDOW_COLUMNS)
    is_inside = pl.col("time_s").is_between(start_s, end_s).fill_null(True)  # NULL: the whole clip
    places = listed.filter(is_inside).drop(WINDOW_COLUMNS)
    keys = ("clip_id", "frame_index", "face_index")
    known = places.drop_nulls("face_index").join(faces.select(FACE_COLUMNS), on=keys, how="left")
    return known.sort("time_s").partition_by("clip_id", as_dict=True)


def _moments(seen: Mapping[tuple[Any, ...], pl.DataFrame], clip_id: str) -> tuple[Moment, ...]:
    if (clip_id,) not in seen:
        return ()
    moments = []
    for row in seen[clip_id,].iter_rows(named=True):
        shares = tuple(row[name] for name in _ORDER)
        moments.append(Moment(row["time_s"], row["frame_index"], _box(row), row["yaw_deg"], None if None in shares else shares))
    return tuple(moments)


def _person(identity_id: str, clips: pl.DataFrame, most: int) -> WantedPerson:
    """A person and its pictures: the first picture of each clip comes before the second of any."""
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
    order = farthest_first(apart, [sharpest_frontal(yaw, sharpness)], most, sharpness, STEP)
    return WantedPerson(identity_id, tuple(_picture(row) for row in pictures[order].iter_rows(named=True)))


def sharpest_frontal(yaw_deg: NDArray[np.float64], sharpness: NDArray[np.float64]) -> int:
    """Which of N pictures is the sharpest of those about as frontal as the most frontal one."""
    turned = np.abs(yaw_deg)
    return int(np.where(turned <= turned.min() + NEARLY_FRONTAL_DEG, sharpness, -np.inf).argmax())


def _picture(row: Row) -> CandidatePicture:
    plain = {name: row[name] for name in CandidatePicture._fields if name != "box"}
    return CandidatePicture(box=_box(row), **plain)


def _box(row: Row) -> Box:
    return row["box_x1"], row["box_y1"], row["box_x2"], row["box_y2"]


def _digest(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}/{name}".encode()).digest()


def _noise(seed: int, clip_id: str) -> int:
    """The same of a clip in every bench of that seed."""
    return int.from_bytes(_digest(seed, clip_id)[:4]) >> 1
