"""What a contract accepts and what it names."""

from typing import Any

import polars as pl
import pytest

from lafid_assets.outcomes import Reason, Status
from lafid_assets.steps.contract import Column, TableSchema

TABLE = TableSchema(
    "clips",
    "A row a clip.",
    ("clip_id",),
    (
        Column("clip_id", pl.String, "the id"),
        Column("share", pl.Float64, "a share", nullable=True, minimum=0, maximum=1),
        Column("side", pl.String, "which side", nullable=True, one_of=("left", "right")),
        Column("boxes", pl.List(pl.Float32), "boxes", nullable=True),
        Column("status", pl.String, "how it ended"),
        Column("reason", pl.String, "why", nullable=True),
    ),
)
GOOD: dict[str, Any] = {"clip_id": "a", "share": 0.5, "side": "left", "boxes": [1.0], "status": "ok", "reason": None}


def _violations(*rows: dict[str, Any]) -> list[str]:
    return TABLE.violations(TABLE.frame([GOOD | row for row in rows]))


def test_good_rows_break_nothing() -> None:
    assert _violations({}, {"clip_id": "b", "share": None, "status": "rejected", "reason": "no_face"}) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clip_id": None}, "clip_id: 1 NULL"),
        ({"share": float("nan")}, "share: not finite"),
        ({"share": float("inf")}, "share: not finite"),
        ({"share": -0.1}, "share: below 0"),
        ({"share": 1.1}, "share: above 1"),
        ({"side": "middle"}, "side: middle not in the closed list"),
        ({"status": "rejected"}, "status rejected with reason None"),
        ({"reason": "no_face"}, "status ok with reason no_face"),
        ({"status": "error", "reason": "no_face"}, "status error with reason no_face"),
        ({"status": "lost", "reason": "no_face"}, "status lost with reason no_face"),
        ({"status": "rejected", "reason": "because"}, "status rejected with reason because"),
    ],
)
def test_each_broken_rule_of_values_is_named(change: dict[str, Any], message: str) -> None:
    assert message in _violations(change)


def test_bounds_are_inclusive() -> None:
    assert _violations({"share": 0.0}, {"clip_id": "b", "share": 1.0}) == []


def test_key_that_occurs_twice_is_named() -> None:
    assert _violations({}, {"share": 0.1}) == ["1 values of (clip_id) occur more than once"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.with_columns(pl.col("share").cast(pl.Float32)), "share is Float32, not Float64"),
        (lambda frame: frame.drop("share"), "share is None, not Float64"),
    ],
)
def test_wrong_or_missing_column_is_all_that_is_named(change: Any, message: str) -> None:
    assert TABLE.violations(change(TABLE.frame([GOOD]))) == [message]


@pytest.mark.parametrize("as_frame", [False, True])
@pytest.mark.parametrize(
    "change", [lambda row: row | {"extra": 1}, lambda row: {name: row[name] for name in row if name != "side"}]
)
def test_rows_that_do_not_fit_are_refused_with_table_and_column(change: Any, as_frame: bool) -> None:
    rows = [change(GOOD)]
    with pytest.raises(ValueError, match="clips: columns differ from the contract: (extra|side)"):
        TABLE.frame(pl.DataFrame(rows) if as_frame else rows)


def test_frame_is_typed_ordered_and_sorted_by_key() -> None:
    rows = [GOOD | {"clip_id": "b", "share": 1}, dict(reversed((GOOD | {"boxes": None}).items()))]
    for frame in (TABLE.frame(rows), TABLE.frame(pl.DataFrame([GOOD | {"clip_id": "b"}, GOOD | {"share": 1.0}]))):
        assert frame.schema == pl.Schema(TABLE.dtypes)
        assert frame["clip_id"].to_list() == ["a", "b"]


def test_frame_takes_statuses_and_reasons_as_they_are() -> None:
    frame = TABLE.frame([GOOD | {"status": Status.ERROR, "reason": Reason.CRASHED}])
    assert frame.select("status", "reason").rows() == [("error", "crashed")]
    assert TABLE.violations(frame) == []


def test_no_rows_are_a_frame_too() -> None:
    assert TABLE.frame([]).schema == pl.Schema(TABLE.dtypes)
    assert TABLE.violations(TABLE.frame([])) == []


def test_comments_are_the_documentation() -> None:
    assert TABLE.comments["share"] == "a share"


def test_a_contract_says_what_may_be_null() -> None:
    assert TABLE.nullable == {"share", "side", "boxes", "reason"}
