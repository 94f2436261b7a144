"""What happens by the clock. Off until somebody switches it on in the UI."""

import dagster as dg

from lafid_assets.jobs import refresh_dataset

nightly_refresh = dg.ScheduleDefinition(
    name="nightly_refresh",
    job=refresh_dataset,
    cron_schedule="0 2 * * *",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Every night: persons, training table and report over all shards that are there.",
)
