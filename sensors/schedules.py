"""What runs by the clock and asks nothing first. Off until somebody switches it on in the UI.

Belongs here: upkeep and health. Not here: schedules that look before they ask (modules of their names).
"""

import dagster as dg

from lafid_assets.checks.dataset_checks import judge_dataset
from lafid_assets.jobs import check_health, compact_lake

daily_compaction = dg.ScheduleDefinition(
    name="daily_compaction",
    job=compact_lake,
    cron_schedule="0 4 * * *",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Puts the lake's small files together every day at 04:00 UTC, as `lafid compact` does.",
)


def daily_health(cron: str) -> dg.ScheduleDefinition:
    """Looks for what fell through.

    Args:
        cron: when, UTC.
    """
    return dg.ScheduleDefinition(
        name="daily_health",
        job=check_health,
        cron_schedule=cron,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Looks for shards that were never finished, files that tables name and the store lacks, and a registry that "
        "differs from the tables; its run fails and says what it found. When is `health_cron` in lafid.toml.",
    )


def daily_checks(cron: str) -> dg.ScheduleDefinition:
    """Judges the dataset, whether it is refreshed or not.

    Args:
        cron: when, UTC.
    """
    return dg.ScheduleDefinition(
        name="daily_checks",
        job=judge_dataset,
        cron_schedule=cron,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Runs the checks of lafid_dataset that warn, also on days without a refresh. When is `health_cron` in "
        "lafid.toml.",
    )
