"""`lafid query`."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from lafid_assets.schemas import RAW_CLIPS

RowOf = Callable[..., dict[str, Any]]


@pytest.fixture
def curated(publish: Any, row_of: RowOf) -> None:
    publish({"raw_clips": RAW_CLIPS.frame(row_of(RAW_CLIPS, clip_id=f"{n:03}", caption=f"clip {n}") for n in range(150))})


def test_table_shows_the_first_rows_and_says_so(lafid: Any, curated: None) -> None:
    out = lafid("query", "SELECT clip_id, caption FROM raw_clips ORDER BY clip_id").out
    assert "clip 99" in out
    assert "clip 100" not in out
    assert "the first 100 of 150 rows" in out


def test_csv_and_json_give_all_rows(lafid: Any, curated: None) -> None:
    sql = "SELECT count(*) AS clips, min(caption) AS first FROM raw_clips"
    assert lafid("query", sql, "--csv").out == "clips,first\n150,clip 0\n"
    assert json.loads(lafid("query", sql, "--json").out) == [{"clips": 150, "first": "clip 0"}]
    assert len(json.loads(lafid("query", "SELECT clip_id FROM raw_clips", "--json").out)) == 150


def test_rows_too_wide_for_the_screen_are_shown_a_line_a_column(lafid: Any, publish: Any, row_of: RowOf) -> None:
    publish({"raw_clips": RAW_CLIPS.frame([row_of(RAW_CLIPS, clip_id=letter * 32) for letter in "ab"])})
    lines = [" ".join(line.split()) for line in lafid("query", "FROM raw_clips ORDER BY clip_id").out.splitlines()]
    assert [line for line in lines if line.startswith("row ")] == ["row 1", "row 2"]
    assert f"│ clip_id │ {'b' * 32} │" in lines


def test_brackets_are_no_markup(lafid: Any, curated: None) -> None:
    out = lafid("query", "SELECT '[music] he says [/b] hello' AS \"[a]\"").out
    assert "[music] he says [/b] hello" in out
    assert "[a]" in out


@pytest.mark.parametrize("sql", ["SELECT nothing FROM raw_clips", "DELETE FROM raw_clips", "nonsense"])
def test_what_cannot_be_answered_is_one_line(lafid: Any, curated: None, sql: str) -> None:
    assert "tables: raw_clips" in lafid("query", sql).error
    assert json.loads(lafid("query", "SELECT count(*) AS n FROM raw_clips", "--json").out) == [{"n": 150}]
