"""The clock."""

import dagster as dg

from sensors.schedules import nightly_refresh


def test_off_by_default_and_refreshes_the_dataset() -> None:
    assert nightly_refresh.default_status == dg.DefaultScheduleStatus.STOPPED
    assert nightly_refresh.job_name == "refresh_dataset"
    assert nightly_refresh.cron_schedule == "0 2 * * *"
