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


@pytest.mark.parametrize("sql", ["SELECT nothing FROM raw_clips", "DELETE FROM raw_clips", "nonsense"])
def test_what_cannot_be_answered_is_one_line(lafid: Any, curated: None, sql: str) -> None:
    assert "tables: raw_clips" in lafid("query", sql).error
    assert json.loads(lafid("query", "SELECT count(*) AS n FROM raw_clips", "--json").out) == [{"n": 150}]
