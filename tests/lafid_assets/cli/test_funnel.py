"""`lafid funnel`."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from resources.shard_store import ShardStore
from resources.warehouse import Warehouse

from lafid_assets.contract import comments
from lafid_assets.schemas import BY_NAME, LAFID_DATASET, OUTCOME_TABLES, TABLES
from resources.settings import Settings

SKIPPED = {"status": "skipped", "reason": "upstream"}


@pytest.fixture
def curated(home: Any, row_of: Callable[..., dict[str, Any]]) -> Callable[..., None]:
    """Fills the installation with three clips; the tables from `tables_there` on are not there yet."""

    def fill(tables_there: int = len(OUTCOME_TABLES), version: str | None = "v1") -> None:
        settings = Settings(home=home, store_uri=str(home / "store"))
        store = ShardStore(settings.store_uri)
        warehouse = Warehouse(settings.warehouse_path, store, comments(TABLES))
        for index, name in enumerate(OUTCOME_TABLES[:tables_there]):
            table = BY_NAME[name]
            keep = {"keep": False} if "keep" in table.dtypes else {}
            gone = keep | ({"status": "skipped", "reason": "file_missing"} if index == 0 else SKIPPED)
            late = {} if index < 2 else keep | ({"status": "rejected", "reason": "no_face"} if index == 2 else SKIPPED)
            rows = [row_of(table, clip_id=clip, **how) for clip, how in (("a", {}), ("b", gone), ("c", late))]
            store.write_group({name: table.frame(rows)}, "x", "f")
            warehouse.replace_partition({name: table.frame(rows)}, "x")
        if version:
            frame = LAFID_DATASET.frame([row_of(LAFID_DATASET, clip_id="a", dataset_version=version)])
            store.write_group({"lafid_dataset": frame}, "all", "f")
            warehouse.replace_partition({"lafid_dataset": frame}, "all")

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


def test_rebuilt_file_gives_the_same_funnel(lafid: Any, curated: Callable[..., None], home: Any) -> None:
    curated()
    before = lafid("funnel", "--json").out
    (home / "lafid.duckdb").unlink()
    assert "7 tables" in lafid("rebuild").out
    assert lafid("funnel", "--json").out == before
