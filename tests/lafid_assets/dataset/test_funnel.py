"""Every clip is counted once, whatever happened to it."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lafid_assets.dataset.funnel import STEPS, as_object, count_outcomes, read_outcomes
from lafid_assets.outcomes import REASONS, Status
from lafid_assets.schemas import BY_NAME, DATASET_REPORT, OUTCOME_TABLES
from resources.lake.lake import UNPARTITIONED, Lake
from resources.lake.reader import Reader

OK = ("ok", None)
UPSTREAM = ("skipped", "upstream")
ENDINGS = [OK, *((str(status), str(reason)) for status, reasons in REASONS.items() for reason in sorted(reasons))]
NO_FACE = ("rejected", "no_face")
LAST = len(STEPS)

Clips = dict[str, list[tuple[str, str | None] | None]]


def _reader(clips: Clips, *, shard_of: Callable[[str], str] = lambda clip: "s") -> Reader:
    """Clip to how it ended in each table in turn; None, or a list that ends before, where the table does not hold it."""
    connection = duckdb.connect()
    for index, name in enumerate(OUTCOME_TABLES.values()):
        columns = [
            column for column in ("policy", "policy_sha256", "fingerprint", "transcriber") if column in BY_NAME[name].dtypes
        ]
        named = "".join(f", {column} VARCHAR" for column in columns)
        connection.execute(f"CREATE TABLE {name} (shard VARCHAR, clip_id VARCHAR, status VARCHAR, reason VARCHAR{named})")
        for clip, endings in clips.items():
            if index < len(endings) and (ending := endings[index]) is not None:
                row = ", ".join("NULL" if value is None else f"'{value}'" for value in (shard_of(clip), clip, *ending))
                connection.execute(f"INSERT INTO {name} (shard, clip_id, status, reason) VALUES ({row})")
    connection.execute("CREATE VIEW footage AS FROM clips")
    return Reader(BY_NAME, connection, "memory")


def _rows(reader: Reader) -> tuple[list[tuple[str, ...]], str]:
    """Every clip's outcome, and the digest of all."""
    with TemporaryDirectory() as folder:
        outcomes = read_outcomes(reader, Path(folder))
        return reader.sql(f"SELECT clip_id, status, step, reason FROM {outcomes.rows} ORDER BY clip_id").rows(), outcomes.digest


def _funnel(clips: Clips) -> dict[str, Any]:
    return as_object(count_outcomes(_reader(clips)), "v")


LATER = LAST - 1
endings = st.lists(st.one_of(st.just(OK), st.just(UPSTREAM), st.sampled_from(ENDINGS), st.none()), min_size=LATER, max_size=LATER)
many_clips = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.tuples(st.sampled_from(ENDINGS), endings), max_size=12)


def _expected(row: list[tuple[str, str | None] | None]) -> tuple[str, str, str]:
    for step, ending in zip(STEPS, row, strict=True):
        if ending is None or (step != STEPS[0] and ending == UPSTREAM):
            return "skipped", step, "not_processed"
        if ending != OK:
            return ending[0], step, ending[1] or ""
    return "kept", "", ""


@settings(deadline=None, max_examples=25)
@given(many_clips, st.integers(1, LAST), st.integers(1, 4))
def test_sums_always_agree_and_every_clip_ends_at_the_first_step_that_it_did_not_pass(
    clips: dict[str, Any], tables_there: int, shards: int
) -> None:
    rows = {clip: [*([first, *later][:tables_there]), *[None] * (LAST - tables_there)] for clip, (first, later) in clips.items()}
    reader = _reader(rows, shard_of=lambda clip: str(ord(clip[0]) % shards))
    counts = DATASET_REPORT.frame(count_outcomes(reader).with_columns(dataset_version=pl.lit("v")))
    funnel = as_object(counts, "v")

    assert _rows(reader)[0] == [(clip, *_expected(rows[clip])) for clip in sorted(rows)]
    ended = [sum(funnel[status].values()) for status in ("rejected", "error", "skipped")]
    assert funnel["in"] == len(rows) == funnel["kept"] + funnel["timeout"] + sum(ended)
    assert DATASET_REPORT.violations(counts) == []


def test_first_step_that_does_not_pass_decides() -> None:
    clips: Clips = {
        "a": [OK] * LAST,
        "b": [OK, OK, NO_FACE, UPSTREAM, UPSTREAM, UPSTREAM],
        "c": [("error", "unreadable"), *[UPSTREAM] * 5],
        "d": [OK, ("timeout", "deadline"), *[UPSTREAM] * 4],
    }
    expected = [
        ("a", "kept", "", ""),
        ("b", "rejected", "pose_filtered_clips", "no_face"),
        ("c", "error", "raw_clips", "unreadable"),
        ("d", "timeout", "face_clips", "deadline"),
    ]
    assert _rows(_reader(clips))[0] == expected, "where the steps agree"
    halfway = clips | {"e": [OK, OK]}
    assert _rows(_reader(halfway))[0] == [*expected, ("e", "skipped", "pose_filtered_clips", "not_processed")]
    elsewhere = _reader(halfway, shard_of=lambda clip: "done" if clip != "e" else "halfway")
    assert _rows(elsewhere)[0] == _rows(_reader(halfway))[0]


def test_clip_that_a_later_table_does_not_hold_is_not_processed() -> None:
    assert _funnel({"a": [OK, None, OK, OK, OK, OK]})["skipped"] == {"not_processed": 1}


def test_table_that_is_not_there_yet_processes_nothing() -> None:
    clips: Clips = {"a": [OK, OK, OK, None, OK, OK], "b": [("error", "crashed")]}
    assert _rows(_reader(clips))[0][0] == ("a", "skipped", STEPS[3], "not_processed")


def test_step_computed_again_counts_before_the_later_ones_are() -> None:
    """Two clips change places in one step: the numbers that pass stay, and the clips do not."""
    clips: Clips = {"a": [OK, OK, NO_FACE, OK, OK, OK], "b": [OK, OK, OK, UPSTREAM, UPSTREAM, UPSTREAM]}
    assert _rows(_reader(clips))[0] == [
        ("a", "rejected", "pose_filtered_clips", "no_face"),
        ("b", "skipped", "id_consistent_clips", "not_processed"),
    ]


def test_same_reason_in_two_steps_is_one_line_of_the_object() -> None:
    funnel = _funnel({"a": [("error", "unreadable")], "b": [OK, ("error", "unreadable")]})
    assert funnel["error"] == {"unreadable": 2}


def test_clips_of_later_tables_alone_do_not_come_in() -> None:
    assert [row[0] for row in _rows(_reader({"a": [OK] * LAST, "z": [None, OK]}))[0]] == ["a"]


def test_object_has_exactly_the_promised_fields() -> None:
    funnel = _funnel({"a": [OK] * LAST, "b": [("timeout", "deadline")]})
    assert funnel == {"in": 2, "kept": 1, "rejected": {}, "error": {}, "timeout": 1, "skipped": {}, "dataset_version": "v"}
    assert as_object(count_outcomes(_reader({})), None) == {
        "in": 0,
        "kept": 0,
        "rejected": {},
        "error": {},
        "timeout": 0,
        "skipped": {},
        "dataset_version": None,
    }


def test_every_reason_has_its_place() -> None:
    funnel = _funnel({f"{status} {reason}": [(status, reason)] for status, reason in ENDINGS[1:]})
    for status in {status for status, _ in ENDINGS[1:]}:
        reasons = [reason for of, reason in ENDINGS[1:] if of == status]
        assert funnel[status] == (len(reasons) if status == Status.TIMEOUT else dict.fromkeys(reasons, 1))


def test_digest_knows_every_clip_and_neither_order_nor_shards() -> None:
    clips: Clips = {"a": [OK] * LAST, "b": [NO_FACE], "c": [("error", "unreadable")], "d": [OK] * LAST}
    digest = _rows(_reader(clips))[1]
    assert _rows(_reader(dict(reversed(clips.items()))))[1] == digest
    assert _rows(_reader(clips, shard_of=lambda clip: clip))[1] == digest
    assert _rows(_reader(clips | {"b": clips["c"], "c": clips["b"]}))[1] != digest, "the numbers are the same"
    assert _rows(_reader(clips | {"e": [OK] * LAST}))[1] != digest


@pytest.fixture
def laid(lake: Lake, row_of: Callable[..., dict[str, Any]]) -> Lake:
    """A lake with a shard that is done and one that `pose_filtered_clips` has not reached."""
    for name in OUTCOME_TABLES.values():
        table = BY_NAME[name]
        for shard, ends in (("done", LAST), ("halfway", 2)):
            if list(OUTCOME_TABLES.values()).index(name) < ends:
                lake.put(
                    {name: table.frame([row_of(table, clip_id=shard, shard=shard)])},
                    shard if table.partitioned else UNPARTITIONED,
                    "f",
                )
    return lake


def test_counts_are_those_of_a_moment_of_the_lake(laid: Lake) -> None:
    with laid.snapshot() as reader:
        counts = count_outcomes(reader)
    assert counts.rows() == [("kept", "", "", 1), ("skipped", "pose_filtered_clips", "not_processed", 1)]
