"""Dagster's instance of an installation: it takes no shard that the lake does not hold, and runs for other machines say what they
were submitted with, and what they need; they count as lost when Ray has lost them.

Belongs here: what the "Add partition" dialog and every other caller may add, what every submitted run carries, what Ray gives it,
and when Ray lost it. Not here: how files become shards (`ingest.registration`), who compares what runs carry (`preflight`), what
runs ask for (`resources.trainer.launch`), storage (`resources.dagster_storage`).

The UI offers that dialog for every dynamic partition. A shard typed there would count as missing for ever: it has no clips.
"""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from dagster._core.events import DagsterEvent, DagsterEventType, EngineEventData, JobFailureData, RunFailureReason
from dagster._core.instance.ref import InstanceRef
from dagster._core.launcher import WorkerStatus
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher
from dagster._core.workspace.context import BaseWorkspaceRequestContext
from dagster._utils.tags import normalize_tags

from lafid_assets.steps.partitions import CLIP_SHARDS
from resources.cores import limit_cores
from resources.dagster_storage import pausing
from resources.reconnecting_engine import wait_for_server
from resources.settings import Settings
from resources.trainer.launch import RAY_TAG, LaunchConfig

TRAINING = "fusion_dit"
HOW_SHARDS_ARE_MADE = "shards are made of files: put clips into the drop folder and switch clip_drop on, or run `lafid curate`"


class Instance(dg.DagsterInstance):
    """Named in `dagster.yaml` as `instance_class`; holds for SQLite and Postgres storage."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """As Dagster's, which gives a server of its records six seconds to come back: all that runs would fail. And who waits for
        a place in a pool would burn a core."""
        super().__init__(*arguments, **named)
        events: Any = self._event_storage
        storages: list[Any] = [self._run_storage, events, self._schedule_storage]
        for storage in storages:
            if hasattr(storage, "postgres_url"):
                wait_for_server(storage._engine)
        if hasattr(events, "postgres_url"):
            events.claim_concurrency_slot = pausing(events.claim_concurrency_slot)

    @classmethod
    def config_schema(cls) -> Mapping[str, Any]:
        """`dagster.yaml` needs no lines more than Dagster's own."""
        return {}

    @classmethod
    def config_defaults(cls, base_dir: str) -> Mapping[str, Any]:
        """Dagster's own."""
        return InstanceRef.config_defaults(base_dir)

    def add_dynamic_partitions(self, partitions_def_name: str, partition_keys: Sequence[str]) -> None:
        """As Dagster's.

        Raises:
            UserFacingGraphQLError: the lake holds no such shard; the UI shows the message as it is.
        """
        if partitions_def_name == CLIP_SHARDS.name:
            _refuse_unknown(partition_keys)
        super().add_dynamic_partitions(partitions_def_name, partition_keys)

    def submit_run(self, run_id: str, workspace: BaseWorkspaceRequestContext) -> dg.DagsterRun:
        """As Dagster's. Whoever asks for a run, "Materialize" in the UI and backfills included: it bears the tags of the launch
        file, by which a run launcher gives it CPUs and GPUs. Dagster itself takes them from jobs alone. A run that is executed
        again carries what runs now, not what its parent was submitted with.

        Raises:
            LaunchUnusable: the launch file does not fit, or Ray would kill a cancelled training before it has saved its state.
        """
        from lafid_assets.jobs import assets_of, launch_tags
        from lafid_assets.runs.preflight import carried  # every process of Dagster imports this module, and few ever submit

        run = self.get_run_by_id(run_id)
        if run is not None:
            launch, assets = LaunchConfig.from_environment(), assets_of(run)
            ray = _ray_config(self)
            if ray is not None and TRAINING in assets:
                launch.refuse_short_wait(ray.get("env_vars", []))
            wanted = normalize_tags(launch_tags(launch, assets))
            missing = {name: value for name, value in wanted.items() if name not in run.tags}
            if tags := missing | (carried() if is_cluster(self) else {}):
                self.add_run_tags(run_id, tags)
        return super().submit_run(run_id, workspace)

    def report_run_failed(
        self, dagster_run: dg.DagsterRun, message: str | None = None, job_failure_data: JobFailureData | None = None
    ) -> DagsterEvent:
        """As Dagster's, which fails a run that has not begun `start_timeout_seconds` after its launch. One of Ray is failed then
        only if Ray has lost it; one that waits for a node, or is just being started, is left alone."""
        is_late = job_failure_data is not None and job_failure_data.failure_reason == RunFailureReason.START_TIMEOUT
        if is_late and _ray_config(self) is not None:
            health = self.run_launcher.check_run_worker_health(dagster_run)
            if health.status in (WorkerStatus.RUNNING, WorkerStatus.SUCCESS):
                return DagsterEvent(
                    DagsterEventType.ENGINE_EVENT.value, dagster_run.job_name, event_specific_data=EngineEventData()
                )
        return super().report_run_failed(dagster_run, message, job_failure_data)


def is_cluster(instance: dg.DagsterInstance) -> bool:
    """Whether runs are launched on other machines: by a run launcher that is not Dagster's own."""
    launcher = instance.get_ref().run_launcher_data if instance.is_persistent else None
    return launcher is not None and launcher.class_name != DefaultRunLauncher.__name__


def keep_to_what_was_given(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """On a node of Ray others work beside this run: its process uses the cores that it was given, and a GPU only if it was given
    one."""
    config = _ray_config(instance)
    if config is None or run.remote_job_origin is None:  # a command runs it in its own process
        return
    asked = config | {name: value for name, value in json.loads(run.tags.get(RAY_TAG, "{}")).items() if value}
    limit_cores(asked.get("num_cpus") or 1)
    if not asked.get("num_gpus"):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def _ray_config(instance: dg.DagsterInstance) -> dict[str, Any] | None:
    """What dagster.yaml tells RayRunLauncher; None: it names another one."""
    launcher = instance.get_ref().run_launcher_data if instance.is_persistent else None
    return None if launcher is None else launcher.config_dict.get("ray")


def _refuse_unknown(shards: Sequence[str]) -> None:
    from lafid_assets.lake import open_lake  # every process of Dagster imports this module, and few ever add a shard
    from lafid_assets.schemas import CLIP_FILES

    lake = open_lake(Settings.from_environment(), read_only=True)
    try:
        held = {shard for _, shard in lake.stamps([CLIP_FILES.name])} if lake.is_there() else set()
    finally:
        lake.close()
    if unknown := sorted(set(shards) - held):
        from dagster_graphql.implementation.utils import UserFacingGraphQLError
        from dagster_graphql.schema.errors import GrapheneUnauthorizedError

        raise UserFacingGraphQLError(
            GrapheneUnauthorizedError(message=f"no clips are in a shard {unknown[0]}: {HOW_SHARDS_ARE_MADE}")
        )
