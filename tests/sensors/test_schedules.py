"""The clock that asks nothing first."""

import dagster as dg

from sensors.schedules import daily_compaction, daily_health


def test_off_by_default_and_daily() -> None:
    health = daily_health("0 6 * * *")
    assert {one.name: (one.job_name, one.cron_schedule, one.default_status) for one in (daily_compaction, health)} == {
        "daily_compaction": ("compact_lake", "0 4 * * *", dg.DefaultScheduleStatus.STOPPED),
        "daily_health": ("check_health", "0 6 * * *", dg.DefaultScheduleStatus.STOPPED),
    }
