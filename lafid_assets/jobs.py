"""The jobs: what is usually materialized together, and the lake's upkeep.

Belongs here: selections of assets under a name. Not here: when they run (`sensors`), the assets.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._utils.schedules import is_valid_cron_string

from lafid_assets.partitions import CLIP_SHARDS
from resources.lake import Lake

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


def precompute(tags: Mapping[str, Any]) -> UnresolvedAssetJobDefinition:
    """Everything frozen, a run a few shards.

    Args:
        tags: of its runs: what brings each to a machine with a GPU.
    """
    return dg.define_asset_job(
        "precompute",
        selection=list(PRECOMPUTE),
        partitions_def=CLIP_SHARDS,
        description="Shards of the dataset through the frozen encoders.",
        tags=tags,
    )


def train_and_register(tags: Mapping[str, Any]) -> UnresolvedAssetJobDefinition:
    """Training, evaluation, registry.

    Args:
        tags: of its runs: what brings them to a machine with a GPU (`resources.trainer.launch`).
    """
    return dg.define_asset_job(
        "train_and_register", selection=list(RELEASE), description="Training, evaluation, registry.", tags=tags
    )


@dg.op
def compact(context: dg.OpExecutionContext, lake: dg.ResourceParam[Lake]) -> None:
    """Put the lake's small files together and drop those that no table needs any more."""
    from resources import lake_upkeep

    context.log.info(str(lake_upkeep.compact(lake)))


@dg.job(description="Puts the lake's small files together and drops those that no table needs any more.")
def compact_lake() -> None:
    """Beside other runs, at any time."""
    compact()
