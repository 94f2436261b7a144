"""The jobs: what is usually materialized together, the lake's upkeep, and the look for faults.

Belongs here: selections of assets under a name. Not here: when they run (`sensors`), the assets.
"""

from collections.abc import Collection, Mapping
from typing import Any

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._utils.schedules import is_valid_cron_string

from lafid_assets.runs.run_failure import told_in_one_line
from lafid_assets.steps.partitions import CLIP_SHARDS
from resources.lake.lake import Lake
from resources.settings import Settings
from resources.tracking import Tracking
from resources.trainer.launch import LaunchConfig

PER_SHARD = (
    "raw_clips",
    "face_info",
    "pose_filtered_clips",
    "id_consistent_clips",
    "speech_info",
    "speech_tagged_clips",
    "reference_crops",
)
DATASET = ("identity_clusters", "duplicate_clips", "lafid_dataset", "dataset_report")
PRECOMPUTE = ("training_latents",)
RELEASE = ("fusion_dit", "lafid_bench", "model_evaluation", "registered_model")
ASSETS_OF = {
    "curate_shard": PER_SHARD,
    "refresh_dataset": DATASET,
    "precompute": PRECOMPUTE,
    "train_and_register": RELEASE,
    "precompute_and_train": PRECOMPUTE + RELEASE,
}
"""Job to the assets that it materializes."""

WAITING = (dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING)
ACTIVE = (*WAITING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)
"""How runs stand that have not begun, and that have not ended."""


def assets_of(run: dg.DagsterRun) -> set[str]:
    """What a run materializes; none where its job is of another kind."""
    if run.asset_selection:
        return {key.to_user_string() for key in run.asset_selection}
    return set(ASSETS_OF.get(run.job_name, ()))


def launch_tags(launch: LaunchConfig, assets: Collection[str]) -> Mapping[str, Any]:
    """Tags that bring a run of these assets to a machine with what they need."""
    if "fusion_dit" in assets:
        return launch.tags
    if {*PRECOMPUTE, *RELEASE} & set(assets):
        return launch.precompute_tags
    return launch.curation_tags if set(PER_SHARD) & set(assets) else {}


def is_cron(text: str) -> bool:
    """Whether a schedule can run by it."""
    return is_valid_cron_string(text)


curate_shard = dg.define_asset_job(
    "curate_shard",
    selection=list(PER_SHARD),
    partitions_def=CLIP_SHARDS,
    description="Shards of clips, from the files to the speaking captions.",
)
refresh_dataset = dg.define_asset_job(
    "refresh_dataset",
    selection=list(DATASET),
    description="Persons and duplicates over all shards, the training table and the report.",
)


ON_GPUS = {
    "precompute": "Shards of the dataset through the frozen encoders.",
    "train_and_register": "Training, evaluation, registry.",
    "precompute_and_train": "The dataset through the frozen encoders, then training, evaluation, registry; what "
    "`weekly_training` runs.",
}
"""Jobs whose runs want a GPU, and what they are."""


def on_gpus(job: str, tags: Mapping[str, Any]) -> UnresolvedAssetJobDefinition:
    """One of `ON_GPUS`.

    Args:
        tags: of its runs: what brings each to a machine with a GPU (`resources.trainer.launch`).
    """
    assets = ASSETS_OF[job]
    shards = CLIP_SHARDS if set(PRECOMPUTE) <= set(assets) else None
    return dg.define_asset_job(job, selection=list(assets), partitions_def=shards, description=ON_GPUS[job], tags=tags)


@dg.op
def compact(context: dg.OpExecutionContext, lake: dg.ResourceParam[Lake]) -> None:
    """Put the lake's small files together and drop those that no table needs any more."""
    from resources.lake import upkeep

    with told_in_one_line(context):
        context.log.info(str(upkeep.compact(lake)))


@dg.job(description="Puts the lake's small files together and drops those that no table needs any more.")
def compact_lake() -> None:
    """It runs beside other runs, at any time."""
    compact()


@dg.op
def look_for_faults(
    context: dg.OpExecutionContext,
    lake: dg.ResourceParam[Lake],
    settings: dg.ResourceParam[Settings],
    tracking: dg.ResourceParam[Tracking],
) -> None:
    """Fails with everything that fell through, the first of it first."""
    from lafid_assets import health
    from lafid_assets.lafid_toml.settings_check import ops_of
    from lafid_assets.lafid_toml.settings_file import SettingsFile

    with told_in_one_line(context):
        health.require_none(health.find_faults(lake, tracking, ops_of(SettingsFile.of(settings.home), {})))
    context.log.info("no shard is left unfinished, no file that a table names is missing, the registry is as the tables say")


@dg.job(
    description="Looks for shards that were never finished, files that tables name and the store lacks, and a registry that "
    "differs from the tables. Fails with what it found."
)
def check_health() -> None:
    """It runs beside other runs, at any time."""
    look_for_faults()
