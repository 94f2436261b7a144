"""The clock that asks nothing first."""

import dagster as dg

from sensors.schedules import daily_checks, daily_compaction, daily_health


def test_off_by_default_and_daily() -> None:
    every = (daily_compaction, daily_health("0 6 * * *"), daily_checks("0 6 * * *"))
    assert {one.name: (one.job_name, one.cron_schedule, one.default_status) for one in every} == {
        "daily_compaction": ("compact_lake", "0 4 * * *", dg.DefaultScheduleStatus.STOPPED),
        "daily_checks": ("judge_dataset", "0 6 * * *", dg.DefaultScheduleStatus.STOPPED),
        "daily_health": ("check_health", "0 6 * * *", dg.DefaultScheduleStatus.STOPPED),
    }
