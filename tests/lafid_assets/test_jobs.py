"""The lake's upkeep as a job."""

from typing import Any

import pytest

from lafid_assets.jobs import compact_lake
from resources import lake_upkeep
from resources.lake import Lake


def test_compaction_is_asked_of_the_runs_own_lake(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(lake_upkeep, "compact", asked.append)
    assert compact_lake.execute_in_process(resources={"lake": lake}).success
    assert asked == [lake]
