"""What happens by the clock. Off until somebody switches it on in the UI."""

import dagster as dg

from lafid_assets.jobs import compact_lake, refresh_dataset
from lafid_assets.settings_check import ops_of
from lafid_assets.settings_file import SettingsFile
from lafid_assets.steps import dataset_is_current
from resources.lake import Lake
from resources.settings import Settings


def nightly_refresh(cron: str) -> dg.ScheduleDefinition:
    """The dataset over all shards that are there. What is current starts no run.

    Args:
        cron: when, UTC.
    """

    @dg.schedule(
        name="nightly_refresh",
        job=refresh_dataset,
        cron_schedule=cron,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Persons, training table and report over all shards that are there; when is `refresh_cron` in lafid.toml.",
    )
    def schedule(lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]) -> dg.RunRequest | dg.SkipReason:
        if not lake.is_there():
            return dg.SkipReason("nothing has been curated yet")
        told = ops_of(SettingsFile.of(settings.home), {})
        return dg.SkipReason("the dataset is current") if dataset_is_current(lake, settings, told) else dg.RunRequest()

    return schedule


daily_compaction = dg.ScheduleDefinition(
    name="daily_compaction",
    job=compact_lake,
    cron_schedule="0 4 * * *",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Puts the lake's small files together every day at 04:00 UTC, as `lafid compact` does.",
)
