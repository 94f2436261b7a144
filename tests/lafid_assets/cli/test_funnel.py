"""`lafid funnel`."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from lafid_assets.schemas import BY_NAME, LAFID_DATASET, OUTCOME_TABLES
from resources.lake.lake import UNPARTITIONED, Lake

SKIPPED = {"status": "skipped", "reason": "upstream"}


@pytest.fixture
def curated(lake: Lake, row_of: Callable[..., dict[str, Any]]) -> Callable[..., None]:
    """Fills the installation with three clips; the tables from `tables_there` on are not there yet."""

    def fill(tables_there: int = len(OUTCOME_TABLES), version: str | None = "v1") -> None:
        for index, name in enumerate(list(OUTCOME_TABLES.values())[:tables_there]):
            table = BY_NAME[name]
            keep = {"keep": False} if "keep" in table.dtypes else {}
            gone = keep | ({"status": "skipped", "reason": "file_missing"} if index == 0 else SKIPPED)
            late = {} if index < 2 else keep | ({"status": "rejected", "reason": "no_face"} if index == 2 else SKIPPED)
            rows = [row_of(table, clip_id=clip, **how) for clip, how in (("a", {}), ("b", gone), ("c", late))]
            lake.put({name: table.frame(rows)}, "x" if table.partitioned else UNPARTITIONED, "f")
        if version:
            lake.put({LAFID_DATASET.name: LAFID_DATASET.frame([row_of(LAFID_DATASET, clip_id="a", dataset_version=version)])})

    return fill


def test_json_is_one_object(lafid: Any, curated: Callable[..., None]) -> None:
    curated()
    ended = lafid("funnel", "--json")
    assert (ended.code, ended.err) == (0, "")
    assert json.loads(ended.out) == {
        "in": 3,
        "kept": 1,
        "rejected": {"no_face": 1},
        "error": {},
        "timeout": 0,
        "skipped": {"file_missing": 1},
        "dataset_version": "v1",
        "recordings": 0,
        "shots": 0,
        "unjudged": {},
    }


def test_table_shows_the_same_and_its_sum(lafid: Any, curated: Callable[..., None]) -> None:
    curated()
    out = lafid("funnel").out
    assert "Funnel of dataset v1" in out
    for word in ("kept", "no_face", "file_missing", "3 clips in"):
        assert word in out
    assert "DIFFERS" not in out


def test_half_finished_curation_is_counted_too(lafid: Any, curated: Callable[..., None]) -> None:
    curated(tables_there=1, version=None)
    funnel = json.loads(lafid("funnel", "--json").out)
    assert (funnel["in"], funnel["kept"], funnel["dataset_version"]) == (3, 0, None)
    assert funnel["skipped"] == {"file_missing": 1, "not_processed": 2}


def test_a_lake_without_clips_says_how_to_begin(lafid: Any, lake: Lake) -> None:
    assert "holds no clips: run `make demo` or `lafid curate DIR` first" in lafid("funnel").error
