"""Copies are found however they were made, other takes are not, and clips may come one by one."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import permutations
from typing import Any

import polars as pl
import pytest

from lafid_assets.duplicates.finding import (
    FACE_COLUMNS,
    FRAME_COLUMNS,
    HASH_COLUMNS,
    NOTHING,
    choose,
    find_duplicates,
    same_shots,
)
from lafid_assets.duplicates.policies import DuplicatePolicy
from lafid_assets.identity.clustering import MixedEngines
from lafid_assets.schemas import DUPLICATE_CLIPS, DUPLICATE_PAIRS, FACE_FRAMES, FACES, PICTURE_HASHES
from lafid_assets.steps.contract import TableSchema

COPIES = ["b smaller", "c cropped", "d without its last lines", "e shortened", "h mirrored", "i mirrored, cropped and shortened"]
SIDES = {"a original": 144, "b smaller": 86, "c cropped": 130, "d without its last lines": 128}


def _table(rows: Iterable[Mapping[str, Any]], table: TableSchema, columns: Sequence[str]) -> pl.DataFrame:
    schema = {name: table.dtypes[name] for name in columns}
    return pl.DataFrame([{name: row[name] for name in columns} for row in rows], schema=schema)


class Curated:
    """The clips of some films as the lake would give them, and which of them were read."""

    def __init__(self, surveyed: Mapping[str, Any]) -> None:
        self._frames = _table((row for film in surveyed.values() for row in film.frames), FACE_FRAMES, FRAME_COLUMNS)
        self._faces = _table((row for film in surveyed.values() for row in film.faces), FACES, FACE_COLUMNS)
        self._hashes = _table((row for film in surveyed.values() for row in film.hashes), PICTURE_HASHES, HASH_COLUMNS)
        self.read: set[str] = set()

    def clips(self, names: Collection[str], measured: str = "m", engine: str = "dlib") -> pl.DataFrame:
        rows = [
            {"clip_id": name, "shard": "shard-00000", "shorter_side_px": SIDES.get(name, 144), "duration_s": 4.0}
            | {"engine": engine, "engine_version": "1", "search_digest": measured}
            for name in names
        ]
        return pl.DataFrame(rows, schema_overrides={"shorter_side_px": pl.Int32})

    def frames(self, clips: Collection[str]) -> pl.DataFrame:
        self.read |= set(clips)
        return self._frames.filter(pl.col("clip_id").is_in(list(clips)))

    def faces(self, clips: Collection[str]) -> pl.DataFrame:
        self.read |= set(clips)
        return self._faces.filter(pl.col("clip_id").is_in(list(clips)))

    def hashes(self, clips: Collection[str]) -> pl.DataFrame:
        return self._hashes.filter(pl.col("clip_id").is_in(list(clips)))

    def find(
        self, names: Collection[str], earlier: Mapping[str, pl.DataFrame] = NOTHING, policy: DuplicatePolicy | None = None
    ) -> dict[str, pl.DataFrame]:
        found = find_duplicates(self.clips(names), policy or DuplicatePolicy(), earlier, self)
        assert DUPLICATE_CLIPS.violations(found["duplicate_clips"]) == []
        assert DUPLICATE_PAIRS.violations(found["duplicate_pairs"]) == []
        return found


@pytest.fixture
def curated(surveyed: Mapping[str, Any]) -> Curated:
    return Curated(surveyed)


def _gone(tables: Mapping[str, pl.DataFrame]) -> dict[str, str]:
    return dict(tables["duplicate_clips"].filter(~pl.col("keep")).select("clip_id", "duplicate_of").iter_rows())


def test_copies_go_for_the_best_and_other_takes_and_persons_stay(curated: Curated, surveyed: Mapping[str, Any]) -> None:
    found = curated.find(surveyed)
    assert _gone(found) == dict.fromkeys(COPIES, "a original")
    [row] = found["duplicate_clips"].filter(clip_id="e shortened").to_dicts()
    assert (row["status"], row["reason"]) == ("rejected", "near_duplicate")
    assert row["detail"].startswith("the same shot as a original, from its second 1.")
    offset = found["duplicate_pairs"].filter(clip_id_a="a original", clip_id_b="e shortened")["offset_s"].item()
    assert offset == pytest.approx(0.3 * 4.0, abs=0.15)


@pytest.mark.parametrize("order", [1, -1])
def test_one_by_one_in_any_order_is_as_all_at_once(curated: Curated, surveyed: Mapping[str, Any], order: int) -> None:
    whole = curated.find(surveyed)
    names = list(surveyed)[::order]
    grown: Mapping[str, pl.DataFrame] = NOTHING
    for count in (*range(2, len(names), 2), len(names)):
        grown = curated.find(names[:count], grown)
    for name in ("duplicate_clips", "duplicate_pairs"):
        assert grown[name].equals(whole[name])


def test_work_follows_the_change(curated: Curated, surveyed: Mapping[str, Any]) -> None:
    found = curated.find(surveyed)
    curated.read.clear()
    strict = curated.find(surveyed, found, DuplicatePolicy(face_similarity_min={"dlib": 2.0}))
    assert not curated.read, "a threshold reads no face again"
    assert _gone(strict) == {}
    assert strict["duplicate_pairs"].equals(found["duplicate_pairs"])
    fewer = curated.find([name for name in surveyed if name != "a original"], found)
    assert not curated.read
    assert set(_gone(fewer).values()) == {"e shortened"}, "the best of those that are left"
    again = curated.clips(surveyed).with_columns(
        search_digest=pl.when(clip_id=pl.lit("f another take")).then(pl.lit("new")).otherwise("search_digest")
    )
    find_duplicates(again, DuplicatePolicy(), found, curated)
    assert "f another take" in curated.read


def test_engines_are_never_mixed(curated: Curated) -> None:
    clips = pl.concat([curated.clips(["a original"]), curated.clips(["b smaller"], engine="insightface")])
    with pytest.raises(MixedEngines):
        find_duplicates(clips, DuplicatePolicy(), NOTHING, curated)


def test_no_clips_are_no_duplicates(curated: Curated) -> None:
    nothing = find_duplicates(curated.clips(["a original"]).clear(), DuplicatePolicy(), NOTHING, curated)
    assert nothing["duplicate_clips"].is_empty()


SAME = {
    "mirrored": False,
    "offset_s": 0.0,
    "shared_share": 1.0,
    "pose_distance_deg": 1.0,
    "pose_chance_deg": 20.0,
    "picture_distance": 2.0,
    "face_similarity": 0.99,
}


def _pairs(*pairs: tuple[str, str], **changed: float) -> pl.DataFrame:
    return DUPLICATE_PAIRS.frame({"clip_id_a": a, "clip_id_b": b} | SAME | changed for a, b in pairs)


def _gives_way(clips: dict[str, tuple[int, float]], *pairs: tuple[str, str]) -> dict[str, str]:
    rows = [{"clip_id": clip, "shorter_side_px": side, "duration_s": length} for clip, (side, length) in clips.items()]
    return {clip: row["duplicate_of"] for clip, row in choose(pl.DataFrame(rows), _pairs(*pairs)).items()}


@pytest.mark.parametrize(
    ("better", "best"),
    [((720, 3.0), "c"), ((480, 5.0), "c"), ((480, 3.0), "a")],
    ids=["larger", "longer", "equal: the smallest id"],
)
def test_size_then_length_then_id(better: tuple[int, float], best: str) -> None:
    clips = {"a": (480, 3.0), "b": (480, 3.0), "c": better}
    gone = _gives_way(clips, ("a", "b"), ("a", "c"), ("b", "c"))
    assert gone == dict.fromkeys(set(clips) - {best}, best)


def test_two_pieces_of_a_worse_recording_both_stay() -> None:
    clips = {"whole": (480, 9.0), "first": (720, 3.0), "last": (360, 3.0)}
    pairs = [("first", "whole"), ("last", "whole")]
    for order in permutations(clips):
        assert _gives_way({clip: clips[clip] for clip in order}, *pairs) == {"whole": "first"}


@pytest.mark.parametrize(
    ("measure", "last", "beyond"),
    [
        ("picture_distance", 10.0, 10.5),
        ("pose_distance_deg", 8.0, 8.1),
        ("pose_chance_deg", 2.0, 1.9),
        ("face_similarity", 0.94, 0.93),
        ("shared_share", 0.8, 0.79),
    ],
)
def test_every_measure_must_agree(measure: str, last: float, beyond: float) -> None:
    policy = DuplicatePolicy()
    assert same_shots(_pairs(("a", "b"), **{measure: last}), policy, "dlib").height == 1
    assert same_shots(_pairs(("a", "b"), **{measure: beyond}), policy, "dlib").is_empty()
