"""The clock."""

import dagster as dg
import pytest

from lafid_assets.lake import open_lake
from resources.lake import Lake
from resources.settings import Settings
from sensors import schedules
from sensors.schedules import daily_compaction, nightly_refresh

REFRESH = nightly_refresh("0 2 * * *")


def test_off_by_default_and_refreshes_the_dataset() -> None:
    assert REFRESH.default_status == dg.DefaultScheduleStatus.STOPPED
    assert REFRESH.job_name == "refresh_dataset"
    assert REFRESH.cron_schedule == "0 2 * * *"


def test_compaction_is_off_by_default_and_daily() -> None:
    assert daily_compaction.default_status == dg.DefaultScheduleStatus.STOPPED
    assert daily_compaction.job_name == "compact_lake"
    assert daily_compaction.cron_schedule == "0 4 * * *"


def test_a_dataset_that_is_current_starts_no_run(lake: Lake, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    context = dg.build_schedule_context()
    assert isinstance(REFRESH(context, lake=lake, settings=settings), dg.RunRequest), "nothing was ever written"
    monkeypatch.setattr(schedules, "dataset_is_current", lambda _lake, _settings, _told: True)
    skipped = REFRESH(context, lake=lake, settings=settings)
    assert isinstance(skipped, dg.SkipReason)
    assert "the dataset is current" in str(skipped.skip_message)


def test_before_anything_is_curated_it_says_so(settings: Settings) -> None:
    skipped = REFRESH(dg.build_schedule_context(), lake=open_lake(settings), settings=settings)
    assert "nothing has been curated yet" in str(skipped.skip_message)
    assert not settings.home.exists()
