"""Every clip is counted once, whatever happened to it."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lafid_assets.dataset.funnel import as_object, clip_outcomes, count_outcomes
from lafid_assets.outcomes import REASONS, Status
from lafid_assets.schemas import DATASET_REPORT, OUTCOME_TABLES

OK = ("ok", None)
ENDINGS = [OK, *((str(status), str(reason)) for status, reasons in REASONS.items() for reason in sorted(reasons))]
SCHEMA = {"clip_id": pl.String, "status": pl.String, "reason": pl.String}


def _tables(clips: dict[str, list[tuple[str, str | None] | None]]) -> dict[str, pl.DataFrame]:
    """Clip to how it ended in each table in turn; None where the table does not hold it."""
    return {
        name: pl.DataFrame(
            [(clip, *endings[index]) for clip, endings in clips.items() if index < len(endings) and endings[index]],
            schema=SCHEMA,
            orient="row",
        )
        for index, name in enumerate(OUTCOME_TABLES)
    }


def _funnel(clips: dict[str, list[tuple[str, str | None] | None]]) -> dict[str, Any]:
    return as_object(count_outcomes(clip_outcomes(_tables(clips)), "v"))


endings = st.lists(st.one_of(st.just(OK), st.sampled_from(ENDINGS), st.none()), min_size=5, max_size=5)
many_clips = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.tuples(st.sampled_from(ENDINGS), endings), max_size=12)


@settings(deadline=None, max_examples=60)
@given(many_clips, st.integers(1, len(OUTCOME_TABLES)))
def test_sums_always_agree(clips: dict[str, Any], tables_there: int) -> None:
    rows = {clip: [first, *later] for clip, (first, later) in clips.items()}
    tables = dict(list(_tables(rows).items())[:tables_there])
    outcomes = clip_outcomes(tables)
    counts = DATASET_REPORT.frame(count_outcomes(outcomes, "v"))
    funnel = as_object(counts)

    assert outcomes["clip_id"].to_list() == sorted(rows)
    ended = [sum(funnel[status].values()) for status in ("rejected", "error", "skipped")]
    assert funnel["in"] == len(rows) == funnel["kept"] + funnel["timeout"] + sum(ended)
    assert funnel["kept"] == sum(all(e == OK for e in row) for row in rows.values()) * (tables_there == len(OUTCOME_TABLES))
    assert DATASET_REPORT.violations(counts) == {"schema": [], "unique_key": [], "values": []}


def test_first_step_that_does_not_pass_decides() -> None:
    outcomes = clip_outcomes(
        _tables(
            {
                "a": [OK] * 6,
                "b": [OK, OK, ("rejected", "no_face"), ("skipped", "upstream"), ("skipped", "upstream")],
                "c": [("error", "unreadable"), ("skipped", "upstream")],
                "d": [OK, ("timeout", "deadline"), ("skipped", "upstream")],
                "e": [OK, OK],
            }
        )
    )
    assert outcomes.rows() == [
        ("a", "kept", "", ""),
        ("b", "rejected", "pose_filtered_clips", "no_face"),
        ("c", "error", "raw_clips", "unreadable"),
        ("d", "timeout", "face_clips", "deadline"),
        ("e", "skipped", "pose_filtered_clips", "not_processed"),
    ]


def test_clip_that_a_later_table_does_not_hold_is_not_processed() -> None:
    assert _funnel({"a": [OK, None, OK, OK, OK, OK]})["skipped"] == {"not_processed": 1}


def test_table_that_is_not_there_yet_processes_nothing() -> None:
    tables = _tables({"a": [OK] * 6, "b": [("error", "crashed")]})
    del tables[OUTCOME_TABLES[3]]
    outcomes = clip_outcomes(tables)
    assert outcomes.rows()[0] == ("a", "skipped", OUTCOME_TABLES[3], "not_processed")


def test_same_reason_in_two_steps_is_one_line_of_the_object() -> None:
    funnel = _funnel({"a": [("error", "unreadable")], "b": [OK, ("error", "unreadable")]})
    assert funnel["error"] == {"unreadable": 2}


def test_clips_of_later_tables_alone_do_not_come_in() -> None:
    tables = _tables({"a": [OK] * 6})
    tables["face_clips"] = pl.concat([tables["face_clips"], pl.DataFrame([("z", "ok", None)], schema=SCHEMA, orient="row")])
    assert clip_outcomes(tables)["clip_id"].to_list() == ["a"]


def test_object_has_exactly_the_promised_fields() -> None:
    funnel = _funnel({"a": [OK] * 6, "b": [("timeout", "deadline")]})
    assert funnel == {"in": 2, "kept": 1, "rejected": {}, "error": {}, "timeout": 1, "skipped": {}, "dataset_version": "v"}
    assert _funnel({}) == {
        "in": 0,
        "kept": 0,
        "rejected": {},
        "error": {},
        "timeout": 0,
        "skipped": {},
        "dataset_version": None,
    }


@pytest.mark.parametrize("ending", ENDINGS[1:], ids=lambda ending: ending[1])
def test_every_reason_has_its_place(ending: tuple[str, str]) -> None:
    status, reason = ending
    funnel = _funnel({"a": [ending]})
    assert funnel[status] == (1 if status == Status.TIMEOUT else {reason: 1})
