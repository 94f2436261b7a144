"""The best copy stays."""

from itertools import permutations

import polars as pl
import pytest

from lafid_assets.duplicates.choice import choose, same_shots
from lafid_assets.duplicates.policies import DuplicatePolicy
from lafid_assets.schemas import DUPLICATE_PAIRS

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


def _gone(clips: dict[str, tuple[int, float]], *pairs: tuple[str, str]) -> dict[str, str]:
    rows = [{"clip_id": clip, "shorter_side_px": side, "duration_s": length} for clip, (side, length) in clips.items()]
    return {clip: row["duplicate_of"] for clip, row in choose(pl.DataFrame(rows), _pairs(*pairs)).items()}


@pytest.mark.parametrize(
    ("better", "best"),
    [((720, 3.0), "c"), ((480, 5.0), "c"), ((480, 3.0), "a")],
    ids=["larger", "longer", "equal: the smallest id"],
)
def test_size_then_length_then_id(better: tuple[int, float], best: str) -> None:
    clips = {"a": (480, 3.0), "b": (480, 3.0), "c": better}
    gone = _gone(clips, ("a", "b"), ("a", "c"), ("b", "c"))
    assert gone == dict.fromkeys(set(clips) - {best}, best)


def test_two_pieces_of_a_worse_recording_both_stay() -> None:
    clips = {"whole": (480, 9.0), "first": (720, 3.0), "last": (360, 3.0)}
    pairs = [("first", "whole"), ("last", "whole")]
    for order in permutations(clips):
        assert _gone({clip: clips[clip] for clip in order}, *pairs) == {"whole": "first"}


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
