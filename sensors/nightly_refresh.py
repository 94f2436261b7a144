"""The dataset is put together by the clock. Off until somebody switches it on in the UI.

Belongs here: when to ask for it. Not here: what it may not lose (`lafid_assets.dataset.lost_clips`).
"""

import dagster as dg

from lafid_assets.jobs import DATASET, PER_SHARD, refresh_dataset
from lafid_assets.lafid_toml.settings_check import ops_of
from lafid_assets.lafid_toml.settings_file import SettingsFile
from lafid_assets.runs.instance import is_cluster
from lafid_assets.steps.curation_steps import copy_is_current, dataset_is_current
from resources.lake.lake import Lake
from resources.settings import Settings
from sensors.work import at_work, or_skip


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
        description="Persons, training table and report over all shards that are there, unless shards are at work; when is "
        "`refresh_cron` in lafid.toml.",
    )
    @or_skip
    def schedule(
        context: dg.ScheduleEvaluationContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
    ) -> dg.RunRequest | dg.SkipReason:
        if not lake.is_there():
            return dg.SkipReason("nothing has been curated yet")
        if busy := at_work(context.instance, lake, (*PER_SHARD, *DATASET)):
            return dg.SkipReason(busy)
        told = ops_of(SettingsFile.of(settings.home), {})
        # Of a cluster a node writes the copy, into its own home.
        if dataset_is_current(lake, told) and (is_cluster(context.instance) or copy_is_current(lake, settings)):
            return dg.SkipReason("the dataset is current")
        return dg.RunRequest()

    return schedule
