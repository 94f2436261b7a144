"""Does the dataset keep about as many clips as its last versions did?"""

from collections.abc import Callable
from typing import Any

import polars as pl

from lafid_assets.checks.bounds import CheckBounds
from lafid_assets.checks.drift import NewClips, clips_new_in, keep_rate_drift
from lafid_assets.checks.judged import Judged
from resources.lake.lake import Lake
from tests.lafid_assets.checks.versions import keep_version

NOTHING_NEW = NewClips(0, 0)
MANY = 100_000
"""Clips of which three standard errors are less than the band."""


def _judge(*kept: int, new: NewClips = NOTHING_NEW, standing: int = -1, settings: str = "", **bounds: Any) -> Judged:
    """Of versions with so many kept clips of `MANY`, the last of which stands."""
    rows = [
        {"number": number, "clips": clips, "clips_in": MANY, "settings_sha256": "s"} for number, clips in enumerate(kept, start=1)
    ]
    rows[standing]["settings_sha256"] = settings or "s"
    return keep_rate_drift(pl.DataFrame(rows), rows[standing], new, CheckBounds(**bounds))


def test_the_first_version_has_nothing_to_compare_with() -> None:
    passed, said, figures = _judge(30_000)
    assert passed
    assert "nothing to compare with" in said
    assert figures == {"keep_rate": 0.3, "clips_in": MANY, "clips_new": 0}


def test_no_clip_at_all_is_no_keep_rate_of_zero() -> None:
    none = {"number": 1, "clips": 0, "clips_in": 0, "settings_sha256": None}
    passed, said, figures = keep_rate_drift(pl.DataFrame([none]), none, NOTHING_NEW, CheckBounds())
    assert (passed, figures) == (True, {})
    assert "no clip has come in" in said


def test_a_rate_outside_the_band_warns_whichever_way_it_went() -> None:
    for kept, passed in ((24_100, True), (23_900, False), (35_900, True), (36_100, False)):
        assert _judge(30_000, kept).passed == passed, kept
    assert _judge(30_000, 23_900, keep_rate_drift=0.3).passed


def test_one_odd_version_does_not_move_what_is_compared() -> None:
    assert _judge(30_000, 30_000, 1, 30_000).figures["keep_rate_before"] == 0.3


def test_only_the_last_versions_are_compared() -> None:
    assert _judge(90_000, 90_000, 90_000, 30_000, 30_000, versions_compared=1).passed
    assert not _judge(90_000, 90_000, 90_000, 30_000, 30_000, versions_compared=4).passed


def test_a_dataset_that_went_back_is_compared_with_the_versions_since() -> None:
    judged = _judge(30_000, 90_000, 90_000, standing=0)
    assert not judged.passed
    assert judged.figures["keep_rate_before"] == 0.9


def test_new_clips_are_judged_by_themselves() -> None:
    """A broken day is seen although all clips together hardly move."""
    judged = _judge(30_000, 30_000, new=NewClips(1_000, 50))
    assert not judged.passed
    assert judged.figures["keep_rate_of_new_clips"] == 0.05
    assert _judge(30_000, 30_000, new=NewClips(1_000, 290)).passed


def test_chance_is_no_drift() -> None:
    """Of 20 clips at 30 %, none or twelve kept are within three standard errors; of 2,000 a share of 60 % is not."""
    assert _judge(30_000, 30_000, new=NewClips(20, 12)).passed
    assert not _judge(30_000, 30_000, new=NewClips(2_000, 1_200)).passed


def test_drift_under_other_settings_says_so() -> None:
    assert "other settings" in _judge(30_000, 3_000, settings="another").said
    assert "other settings" not in _judge(30_000, 3_000).said
    assert "other settings" not in _judge(30_000, 30_000, settings="another").said


def test_new_clips_are_those_whose_first_ending_is_of_the_version(lake: Lake, row_of: Callable[..., dict[str, Any]]) -> None:
    keep_version(lake, row_of, "one", ended=[("a", "kept"), ("b", "rejected")])
    keep_version(lake, row_of, "two", ended=[("b", "kept"), ("c", "kept"), ("d", "error")])
    keep_version(lake, row_of, "three", ended=[("c", "rejected")])
    with lake.snapshot() as reader:
        assert [clips_new_in(reader, number) for number in (1, 2, 3)] == [(2, 1), (2, 1), (0, 0)]
