"""The lake's upkeep as a job."""

from typing import Any

import dagster as dg
import pytest

from lafid_assets.jobs import compact_lake
from lafid_assets.runs import run_failure
from lafid_assets.runs.run_failure import FAILURE_TAG, why_failed
from resources.lake import upkeep
from resources.lake.lake import Lake
from resources.transient_errors import Transient


def test_compaction_is_asked_of_the_runs_own_lake(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(upkeep, "compact", asked.append)
    assert compact_lake.execute_in_process(resources={"lake": lake}).success
    assert asked == [lake]


def test_a_compaction_that_fails_says_so_in_its_first_line(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Lake) -> None:
        raise OSError(5, "the store does not answer")

    monkeypatch.setattr(upkeep, "compact", full)
    with dg.DagsterInstance.ephemeral() as instance:
        run = compact_lake.execute_in_process(resources={"lake": lake}, instance=instance, raise_on_error=False)
        line = "[Errno 5] the store does not answer"
        assert why_failed(instance, run.run_id).endswith(line)
        assert instance.get_run_by_id(run.run_id).tags[FAILURE_TAG] == line


def test_what_passes_by_itself_is_tried_again(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    class Away(Transient):
        pass

    tries = iter([Away("no answer"), Away("no answer")])

    def flaky(_: Lake) -> None:
        for error in tries:
            raise error

    monkeypatch.setattr(upkeep, "compact", flaky)
    monkeypatch.setattr(run_failure, "WAITS_S", (0.0, 0.0))
    assert compact_lake.execute_in_process(resources={"lake": lake}).success
