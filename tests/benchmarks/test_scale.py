"""The scale benchmark: what it lays is current and whole, and its figures follow from what it measured."""

import dataclasses
from pathlib import Path

import pytest

from benchmarks.scale import _summary, exponent
from benchmarks.scale_operations import OPERATIONS, Cost, lay, uptodate
from lafid_assets.lake import open_lake
from lafid_assets.schemas import TABLES
from resources.settings import Settings

COST = Cost(cpu_s=1.0, mb_written=0.0, seconds=2.0, peak_gb=0.5)


def test_what_is_laid_is_current_and_keeps_its_contracts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LAFID_HOME", "DAGSTER_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    home = tmp_path / "home"
    lay(home, 2)
    assert uptodate(home, 2).cpu_s > 0, "it ends the process when a shard is not current"
    lake = open_lake(Settings(home=home, store_uri=str(home / "store")), read_only=True)
    assert lake.sql("SELECT count(*) AS n FROM raw_clips")["n"].item() == 1000
    for table in TABLES:
        if table.view is None and lake.stamps([table.name]):
            assert table.violations(lake.read(table.name)) == []
    lake.close()


def test_figures() -> None:
    costs = {name: [COST, dataclasses.replace(COST, cpu_s=2.0)] for name in OPERATIONS}
    costs["uptodate"][1] = dataclasses.replace(COST, cpu_s=3.0)
    found = _summary([100, 1000], costs)
    assert found["uptodate_cpu_s_per_shard"] == pytest.approx(0.003)
    assert found["refresh_one_new_ratio"] == 2.0
    assert found["put_cpu_s"] == pytest.approx(2.0 + 2.0 / 300)
    assert (found["dataset_rss_gb"], found["forget_s"], found["query_count_s"]) == (0.5, 2.0, 2.0)


def test_exponent_of_what_doubles_with_the_shards_is_one() -> None:
    assert exponent([10, 100, 1000], [7.0, 1.0, 10.0]) == pytest.approx(1.0)
