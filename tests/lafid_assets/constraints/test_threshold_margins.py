"""How narrowly a clip was rejected."""

from collections.abc import Callable
from typing import Any

import duckdb
import pytest

from lafid_assets.constraints.policies import FacePolicy
from lafid_assets.constraints.threshold_margins import miss_share, spare_share, threshold_distance
from lafid_assets.schemas import POSE_FILTERED_CLIPS


@pytest.mark.parametrize(
    ("measures", "reasons", "miss"),
    [
        ({"pose_variation_deg": 40.5}, ["pose_variation_low"], 0.1),
        ({"pose_variation_deg": 40.5, "sharpness": 10.0}, ["face_blurred", "pose_variation_low"], 0.5),
        ({"several_faces_share": 0.10}, ["several_faces"], 1.0),
        ({"face_frame_share": 0.0}, ["no_face"], 1.0),
    ],
)
def test_the_worst_miss_counts_as_a_share_of_its_threshold(
    row_of: Callable[..., dict[str, Any]], measures: dict[str, float], reasons: list[str], miss: float
) -> None:
    rejected = {"status": "rejected", "reason": reasons[0], "reasons": reasons, "keep": False}
    rows = POSE_FILTERED_CLIPS.frame(
        [
            row_of(POSE_FILTERED_CLIPS, clip_id="a", **measures, **rejected),
            row_of(POSE_FILTERED_CLIPS, clip_id="b", pose_variation_deg=1.0, reasons=[]),
        ]
    )
    query = f"SELECT clip_id, {miss_share(FacePolicy())} FROM rows WHERE status = 'rejected'"
    assert duckdb.sql(query).fetchall() == [("a", pytest.approx(miss))], rows.height


@pytest.mark.parametrize(
    ("measures", "spare"),
    [
        ({"pose_variation_deg": 49.5, "pose_spread_deg": 60.0}, 0.1),
        ({"several_faces_share": 0.04, "sharpness": 30.0}, 0.2),
        ({"pose_variation_deg": 90.0, "posed_share": 0.4}, 1.0),
        ({}, None),
    ],
)
def test_the_rule_that_is_met_by_least_counts(
    row_of: Callable[..., dict[str, Any]], measures: dict[str, float], spare: float | None
) -> None:
    """A share of poses below its threshold is no miss where the head turns enough."""
    rows = POSE_FILTERED_CLIPS.frame([row_of(POSE_FILTERED_CLIPS, **measures)])
    [(share,)] = duckdb.sql(f"SELECT {spare_share(FacePolicy())} FROM rows").fetchall()
    assert share == (None if spare is None else pytest.approx(spare)), rows.height


def test_the_distance_to_a_threshold_counts_on_both_sides(row_of: Callable[..., dict[str, Any]]) -> None:
    rows = POSE_FILTERED_CLIPS.frame(
        row_of(POSE_FILTERED_CLIPS, clip_id=clip, pose_variation_deg=degrees, faces_in_frame=1)
        for clip, degrees in {"a": 36.0, "b": 54.0, "c": None}.items()
    )
    query = "SELECT {} FROM rows ORDER BY clip_id"
    distances = duckdb.sql(query.format(threshold_distance(FacePolicy(), "pose_variation_deg"))).fetchall()
    assert distances == [(pytest.approx(0.2),), (pytest.approx(0.2),), (None,)], rows.height
    assert duckdb.sql(query.format(threshold_distance(FacePolicy(), "faces_in_frame"))).fetchall() == [(None,)] * 3, (
        "no such rule"
    )
