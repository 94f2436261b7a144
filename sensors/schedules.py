"""What happens by the clock. Off until somebody switches it on in the UI."""

import os

import dagster as dg

from lafid_assets.jobs import refresh_dataset

nightly_refresh = dg.ScheduleDefinition(
    name="nightly_refresh",
    job=refresh_dataset,
    cron_schedule=os.environ.get("LAFID_REFRESH_CRON", "0 2 * * *"),
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Persons, training table and report over all shards that are there; at $LAFID_REFRESH_CRON (default 02:00 UTC).",
)
