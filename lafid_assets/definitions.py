"""The one place where assets, resources, jobs, sensors and schedules are put together. Stays light: no torch, no cv2, no MLflow.

Belongs here: assembly. Not here: implementations of anything.
"""

import logging
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import dagster as dg

from lafid_assets.checks.dataset_checks import CHECKS, judge_dataset
from lafid_assets.constraints.pose_filtered_clips import pose_filtered_clips
from lafid_assets.dataset.dataset_report import dataset_report
from lafid_assets.dataset.lafid_dataset import lafid_dataset
from lafid_assets.dataset.reference_crops import reference_crops
from lafid_assets.duplicates.duplicate_clips import duplicate_clips
from lafid_assets.faces.face_info import face_info
from lafid_assets.identity.id_consistent_clips import id_consistent_clips
from lafid_assets.identity.identity_clusters import identity_clusters
from lafid_assets.ingest.raw_clips import raw_clips
from lafid_assets.jobs import check_health, compact_lake, curate_shard, on_gpus, refresh_dataset
from lafid_assets.lafid_toml.settings_check import automation
from lafid_assets.lafid_toml.settings_file import Automation, General, SettingsFile, SettingsUnusable
from lafid_assets.lafid_toml.settings_place import FILE, SettingsPlace
from lafid_assets.lake import open_lake
from lafid_assets.release.draw_evaluation import draw_evaluation
from lafid_assets.release.lafid_bench import lafid_bench
from lafid_assets.release.model_evaluation import model_evaluation
from lafid_assets.release.registered_model import registered_model
from lafid_assets.speech.speech_info import speech_info
from lafid_assets.speech.speech_tagged_clips import speech_tagged_clips
from lafid_assets.steps.step import as_told
from lafid_assets.training.fusion_dit import fusion_dit
from lafid_assets.training.training_latents import training_latents
from resources.lake.lake import Lake
from resources.settings import Settings
from resources.store.file_store import FileStore
from resources.tracking import Tracking
from resources.trainer.client import TrainerClient
from resources.trainer.launch import LaunchConfig
from sensors.alerts import alerts
from sensors.clip_drop import clip_drop
from sensors.lost_runs import lost_runs
from sensors.registry_watch import registry_watch
from sensors.schedules import daily_checks, daily_compaction, daily_health, missing_shards, nightly_refresh, weekly_training

LOGGER = logging.getLogger("lafid.definitions")

ASSETS = (
    raw_clips,
    face_info,
    pose_filtered_clips,
    id_consistent_clips,
    identity_clusters,
    speech_info,
    speech_tagged_clips,
    reference_crops,
    duplicate_clips,
    lafid_dataset,
    dataset_report,
    training_latents,
    fusion_dit,
    lafid_bench,
    model_evaluation,
    registered_model,
)


def build_resources(settings: Settings) -> dict[str, Any]:
    """The resources of an installation. Nothing is opened before it is used."""

    def lake(_: dg.InitResourceContext) -> Iterator[Lake]:
        """The lake of one run. `lafid forget` and `lafid sweep` do not begin beside it."""
        opened = open_lake(settings)
        with opened.leases.at_work("a Dagster run"):
            yield opened
        opened.close()

    return {
        "settings": settings,
        "lake": dg.ResourceDefinition(lake),
        "store": FileStore(settings.store_uri, settings.home),
        "tracking": Tracking(settings.mlflow_uri, settings.mlflow_artifacts),
        "trainer": TrainerClient(LaunchConfig.from_environment()),
    }


def build_defs(settings: Settings, resource_overrides: dict[str, Any] | None = None) -> dg.Definitions:
    """Everything that Dagster shows and runs.

    Args:
        resource_overrides: resources to put in place of the installation's own (tests).
    """
    launch = LaunchConfig.from_environment()
    file, clock, fault = _told(settings)
    return dg.Definitions(
        assets=[_with_clock(as_told(asset, file), file.general.checks.overdue_hours) for asset in ASSETS],
        asset_checks=CHECKS,
        resources=build_resources(settings) | (resource_overrides or {}),
        jobs=[
            curate_shard,
            refresh_dataset,
            on_gpus("precompute", launch.precompute_tags),
            on_gpus("train_and_register", launch.tags),
            draw_evaluation(launch.precompute_tags),
            compact_lake,
            check_health,
            judge_dataset,
        ],
        schedules=[
            missing_shards(clock.curate_cron),
            nightly_refresh(clock.refresh_cron),
            weekly_training(clock.train_cron, launch.tags),
            daily_health(clock.health_cron),
            daily_checks(clock.health_cron),
            daily_compaction,
        ],
        sensors=[clip_drop, lost_runs, registry_watch, alerts],
        # Every run has its own process already; a process a step would import everything again.
        executor=dg.in_process_executor,
        metadata={f"{FILE} cannot be used": fault} if fault else {},
    )


def _told(settings: Settings) -> tuple[SettingsFile, Automation, str]:
    """The home's file, its clock, and what is wrong with it. A file that cannot be used costs no page: everything is shown with
    defaults, and each run and each look of a schedule refuses it with that line."""
    try:
        file = SettingsFile.of(settings.home)
        return file, automation(file), ""
    except SettingsUnusable as error:
        LOGGER.error("%s", error)
        return SettingsFile(SettingsPlace(FILE), General(), {}), Automation(), str(error)


def _with_clock(asset: dg.AssetsDefinition, overdue_hours: Mapping[str, float]) -> dg.AssetsDefinition:
    """The asset with Dagster's freshness policy, where the home's file says when it is overdue."""
    hours = overdue_hours.get(asset.key.to_user_string())
    if hours is None:
        return asset
    policy = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=hours))
    return asset.map_asset_specs(lambda spec: spec.replace_attributes(freshness_policy=policy))


@dg.definitions
def defs() -> dg.Definitions:
    """Entry point of `workspace.yaml`, `dagster dev` and `dg`."""
    return build_defs(Settings.from_environment())
