"""Two models on the same cases: pairs, what only one has, and when a difference can be told."""

from typing import Any

import polars as pl
import pytest

from lafid_assets.release.comparison import compare
from lafid_assets.schemas import EVALUATED_FRAMES, EVALUATED_VIDEOS

KNOWN = {"bench_version": "b", "seed": 0}


def _tables(row_of: Any, ours: list[float | None], theirs: list[float | None]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A case a person; a frame of each at 30 degrees has the same score."""
    videos, frames = [], []
    for checkpoint, scores in (("ours", ours), ("theirs", theirs)):
        for number, score in enumerate(scores):
            known = KNOWN | {"checkpoint_sha256": checkpoint, "case_id": f"case-{number}"}
            videos.append(row_of(EVALUATED_VIDEOS, identity_id=f"p{number}", pose_binned_similarity=score, **known))
            frames.append(row_of(EVALUATED_FRAMES, frame_index=1, yaw_bin="yaw_20_40", score=score, **known))
    return EVALUATED_VIDEOS.frame(videos), EVALUATED_FRAMES.frame(frames)


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict", "pairs"),
    [
        ([0.5] * 6, [0.3, 0.2, 0.4, 0.3, 0.2, 0.4], "better", (6, 0, 0)),
        ([0.3, 0.2, 0.4, 0.3, 0.2, 0.4], [0.5] * 6, "worse", (6, 0, 0)),
        ([0.5] * 5, [0.3, 0.2, 0.4, 0.3, 0.2], "cannot be told (5 persons)", (5, 0, 0)),
        ([0.5], [0.3], "cannot be told (1 person)", (1, 0, 0)),
        ([0.5, 0.1] * 3, [0.1, 0.5] * 3, "cannot be told (6 persons)", (6, 0, 0)),
        ([0.5] * 6 + [None], [0.3] * 6 + [0.1], "cannot be told (6 persons)", (6, 0, 1)),
        ([0.3] * 6 + [0.1], [0.5] * 6 + [None], "cannot be told (6 persons)", (6, 1, 0)),
        ([None], [0.3], "cannot be told (0 persons)", (0, 0, 1)),
    ],
)
def test_a_difference_is_told_only_where_persons_agree_and_nothing_is_hidden(
    row_of: Any, ours: list[float | None], theirs: list[float | None], verdict: str, pairs: tuple[int, int, int]
) -> None:
    overall, *binned = compare(*_tables(row_of, ours, theirs), "ours", "theirs")
    in_bin = {one.metric: one for one in binned}["score_yaw_20_40"]
    for found in (overall, in_bin):
        assert (found.verdict, (found.interval.videos, found.only_ours, found.only_theirs)) == (verdict, pairs)
    elsewhere = {one.metric: one for one in binned}["score_yaw_60_90"]
    assert (elsewhere.told, elsewhere.verdict) == ("no pair", "cannot be told (0 persons)")


def test_differences_in_words(row_of: Any) -> None:
    tables = _tables(row_of, [0.5, 0.7], [0.25, 0.25])
    assert compare(*tables, "ours", "theirs")[0].told == "+0.350 (+0.250 to +0.450)"
    assert compare(*_tables(row_of, [0.5], [0.25]), "ours", "theirs")[0].told == "+0.250"
