"""The three jobs: what is usually materialized together.

Belongs here: selections of assets under a name. Not here: when they run (`sensors`), the assets.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from lafid_assets.partitions import CLIP_SHARDS

PER_SHARD = (
    "raw_clips",
    "face_info",
    "pose_filtered_clips",
    "id_consistent_clips",
    "speech_info",
    "speech_tagged_clips",
    "reference_crops",
)
DATASET = ("identity_clusters", "lafid_dataset", "dataset_report")
RELEASE = ("training_latents", "fusion_dit", "model_evaluation", "registered_model")

curate_shard = dg.define_asset_job(
    "curate_shard",
    selection=list(PER_SHARD),
    partitions_def=CLIP_SHARDS,
    description="One shard of clips, from the files to the speaking captions.",
)
refresh_dataset = dg.define_asset_job(
    "refresh_dataset",
    selection=list(DATASET),
    description="Persons over all shards, the training table and the report.",
)


def train_and_register(tags: Mapping[str, Any]) -> UnresolvedAssetJobDefinition:
    """Latents, training, evaluation, registry.

    Args:
        tags: of its runs: what brings them to a machine with a GPU (`resources.trainer.launch`).
    """
    return dg.define_asset_job(
        "train_and_register", selection=list(RELEASE), description="Latents, training, evaluation, registry.", tags=tags
    )
