"""What runs by the clock: upkeep and checks ask nothing first, the refresh asks whether anything is new."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from lafid_assets.lake import open_lake
from resources.lake.lake import Lake
from resources.settings import Settings
from sensors import schedules as module
from sensors.schedules import daily_checks, daily_compaction, daily_health, nightly_refresh


def test_off_by_default_and_daily() -> None:
    every = (daily_compaction, daily_health("0 6 * * *"), daily_checks("0 6 * * *"))
    assert {one.name: (one.job_name, one.cron_schedule, one.default_status) for one in every} == {
        "daily_compaction": ("compact_lake", "0 4 * * *", dg.DefaultScheduleStatus.STOPPED),
        "daily_checks": ("judge_dataset", "0 6 * * *", dg.DefaultScheduleStatus.STOPPED),
        "daily_health": ("check_health", "0 6 * * *", dg.DefaultScheduleStatus.STOPPED),
    }


REFRESH = nightly_refresh("0 2 * * *")


@pytest.fixture
def look(lake: Lake, settings: Settings, instance: dg.DagsterInstance) -> Callable[[], Any]:
    return lambda: REFRESH(dg.build_schedule_context(instance=instance), lake=lake, settings=settings)


def _skipped(result: Any) -> str:
    assert isinstance(result, dg.SkipReason), result
    return str(result.skip_message)


def _run(instance: dg.DagsterInstance, status: dg.DagsterRunStatus, job: str, *assets: str) -> str:
    selection = frozenset(map(dg.AssetKey, assets)) or None
    run_id = f"{job}-{status.value}-{len(assets)}"
    return instance.add_run(dg.DagsterRun(job_name=job, run_id=run_id, status=status, asset_selection=selection)).run_id


def test_off_by_default_and_refreshes_the_dataset() -> None:
    assert REFRESH.default_status == dg.DefaultScheduleStatus.STOPPED
    assert (REFRESH.job_name, REFRESH.cron_schedule) == ("refresh_dataset", "0 2 * * *")


def test_a_dataset_that_is_current_starts_no_run(look: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(look(), dg.RunRequest), "nothing was ever written"
    monkeypatch.setattr(module, "dataset_is_current", lambda _lake, _told: True)
    monkeypatch.setattr(module, "copy_is_current", lambda _lake, _settings: True)
    assert _skipped(look()) == "the dataset is current"


@pytest.mark.parametrize(
    ("job", "assets"),
    [("curate_shard", ()), ("refresh_dataset", ()), ("__ASSET_JOB", ("face_info",)), ("__ASSET_JOB", ("raw_clips", "face_info"))],
)
def test_not_while_shards_run(look: Callable[[], Any], instance: dg.DagsterInstance, job: str, assets: tuple[str, ...]) -> None:
    for status in (dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING):
        run_id = _run(instance, status, job, *assets)
        assert "1 runs are at" in _skipped(look()), status
        instance.delete_run(run_id)


def test_a_training_and_runs_that_ended_are_not_in_the_way(look: Callable[[], Any], instance: dg.DagsterInstance) -> None:
    _run(instance, dg.DagsterRunStatus.STARTED, "train_and_register")
    _run(instance, dg.DagsterRunStatus.STARTED, "__ASSET_JOB", "fusion_dit")
    _run(instance, dg.DagsterRunStatus.FAILURE, "curate_shard")
    assert isinstance(look(), dg.RunRequest)


def test_not_while_another_home_of_the_store_is_at_a_shard(look: Callable[[], Any], lake: Lake) -> None:
    with lake.leases.held("speech_info/shard-00001-aaaaaaaa"):
        assert _skipped(look()) == "another process computes speech_info/shard-00001-aaaaaaaa"


def test_before_anything_is_curated_it_says_so(settings: Settings, instance: dg.DagsterInstance) -> None:
    result = REFRESH(dg.build_schedule_context(instance=instance), lake=open_lake(settings), settings=settings)
    assert "nothing has been curated yet" in _skipped(result)
    assert not settings.home.exists()
