"""The one place where assets, resources, jobs, sensors and schedules are put together. Stays light: no torch, no cv2, no MLflow.

Belongs here: assembly. Not here: implementations of anything.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from lafid_assets.constraints.pose_filtered_clips import pose_filtered_clips
from lafid_assets.contract import comments
from lafid_assets.dataset.dataset_report import dataset_report
from lafid_assets.dataset.lafid_dataset import lafid_dataset
from lafid_assets.dataset.reference_crops import reference_crops
from lafid_assets.faces.face_info import face_info
from lafid_assets.identity.id_consistent_clips import id_consistent_clips
from lafid_assets.identity.identity_clusters import identity_clusters
from lafid_assets.ingest.raw_clips import raw_clips
from lafid_assets.jobs import curate_shard, refresh_dataset, train_and_register
from lafid_assets.release.model_evaluation import model_evaluation
from lafid_assets.release.registered_model import registered_model
from lafid_assets.schemas import TABLES
from lafid_assets.speech.speech_info import speech_info
from lafid_assets.speech.speech_tagged_clips import speech_tagged_clips
from lafid_assets.training.fusion_dit import fusion_dit
from lafid_assets.training.training_latents import training_latents
from resources.home_lock import at_work
from resources.settings import Settings
from resources.shard_store import ShardStore
from resources.tracking import Tracking
from resources.trainer.client import TrainerClient
from resources.trainer.launch import LaunchConfig
from resources.warehouse import Warehouse
from sensors.clip_drop import clip_drop
from sensors.schedules import nightly_refresh

ASSETS = (
    raw_clips,
    face_info,
    pose_filtered_clips,
    id_consistent_clips,
    identity_clusters,
    speech_info,
    speech_tagged_clips,
    reference_crops,
    lafid_dataset,
    dataset_report,
    training_latents,
    fusion_dit,
    model_evaluation,
    registered_model,
)


def build_resources(settings: Settings) -> dict[str, Any]:
    """The resources of an installation. Nothing is opened before an asset uses it."""
    store = ShardStore(settings.store_uri)
    return {
        "settings": settings,
        "store": store,
        "warehouse": Warehouse(settings.warehouse_path, store, comments(TABLES)),
        "tracking": Tracking(settings.mlflow_uri, settings.mlflow_artifacts),
        "trainer": TrainerClient(LaunchConfig.from_environment()),
    }


def build_defs(settings: Settings, resource_overrides: dict[str, Any] | None = None) -> dg.Definitions:
    """Everything that Dagster shows and runs.

    Args:
        resource_overrides: resources to put in place of the installation's own (tests).
    """
    return dg.Definitions(
        assets=ASSETS,
        resources=_held_while_used(build_resources(settings), settings.home) | (resource_overrides or {}),
        jobs=[curate_shard, refresh_dataset, train_and_register(LaunchConfig.from_environment().tags)],
        schedules=[nightly_refresh],
        sensors=[clip_drop],
        # Every run has its own process already; a process a step would import everything again.
        executor=dg.in_process_executor,
    )


def _held_while_used(resources: dict[str, Any], home: Path) -> dict[str, Any]:
    """The resources, of which the warehouse, which every asset uses, keeps `lafid forget` out of the home for as long."""

    def warehouse(_: dg.InitResourceContext) -> Iterator[Warehouse]:
        with at_work(home):
            yield resources["warehouse"]

    return resources | {"warehouse": dg.ResourceDefinition(warehouse)}


@dg.definitions
def defs() -> dg.Definitions:
    """Entry point of `workspace.yaml`, `dagster dev` and `dg`."""
    return build_defs(Settings.from_environment())
