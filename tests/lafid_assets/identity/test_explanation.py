"""The rule that decided, with measure and threshold."""

from collections.abc import Callable
from typing import Any

import pytest

from lafid_assets.identity.explanation import explain_identity
from lafid_assets.identity.policies import ConsistencyPolicy
from lafid_assets.schemas import ID_CONSISTENT_CLIPS

RowOf = Callable[..., dict[str, Any]]
MEASURES = {"embedded_frames": 9, "outlier_share": 0.4, "similarity_mean": 0.8, "similarity_min": 0.3}


@pytest.mark.parametrize(
    ("rule", "measure", "measured", "demand"),
    [
        ("pose_gap", "outlier_share", 0.4, "at most 0.2"),
        ("medoid", "outlier_share", 0.4, "at most 0.2"),
        ("mean", "similarity_mean", 0.8, "at least 0.35"),
        ("minimum", "similarity_min", 0.3, "at least 0.35"),
    ],
)
def test_rule_of_the_policy(row_of: RowOf, rule: Any, measure: str, measured: float, demand: str) -> None:
    row = row_of(ID_CONSISTENT_CLIPS, **MEASURES, status="rejected", reason="identity_change")
    policy = ConsistencyPolicy(name=rule, max_outlier_share=0.2)
    enough, line = explain_identity(row, "insightface/buffalo_l", policy)
    assert (enough.measured, enough.demand, enough.broken) == (9, "at least 3", False)
    assert (line.rule, line.measure, line.measured, line.demand, line.broken) == (
        "identity_change",
        measure,
        measured,
        demand,
        True,
    )


def test_too_few_frames_and_no_judgement(row_of: RowOf) -> None:
    few = row_of(ID_CONSISTENT_CLIPS, embedded_frames=2, outlier_share=None, status="rejected", reason="identity_unknown")
    assert [line.broken for line in explain_identity(few, "dlib", ConsistencyPolicy())] == [True, False]
    skipped = row_of(ID_CONSISTENT_CLIPS, embedded_frames=None, status="skipped", reason="upstream")
    assert explain_identity(skipped, "dlib", ConsistencyPolicy()) == []
