"""What happens by the clock. Off until somebody switches it on in the UI."""

import os

import dagster as dg

from lafid_assets.jobs import compact_lake, refresh_dataset
from lafid_assets.steps import dataset_is_current
from resources.lake import Lake
from resources.settings import Settings


@dg.schedule(
    name="nightly_refresh",
    job=refresh_dataset,
    cron_schedule=os.environ.get("LAFID_REFRESH_CRON", "0 2 * * *"),
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Persons, training table and report over all shards that are there; at $LAFID_REFRESH_CRON (default 02:00 UTC).",
)
def nightly_refresh(lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]) -> dg.RunRequest | dg.SkipReason:
    """What is current starts no run."""
    if not lake.is_there():
        return dg.SkipReason("nothing has been curated yet")
    return dg.SkipReason("the dataset is current") if dataset_is_current(lake, settings) else dg.RunRequest()


daily_compaction = dg.ScheduleDefinition(
    name="daily_compaction",
    job=compact_lake,
    cron_schedule="0 4 * * *",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Puts the lake's small files together every day at 04:00 UTC, as `lafid compact` does.",
)
