"""A dataset that is newer than the last training is trained on by the clock. Off until somebody switches it on in the UI.

Belongs here: when to ask for it. Not here: the training (`lafid_assets.training.fusion_dit`), which model becomes champion
(`lafid_assets.release.gates`).
"""

import json
from collections.abc import Mapping
from typing import Any

import dagster as dg

from lafid_assets.dataset.versions import known_versions, standing_version
from lafid_assets.jobs import PRECOMPUTE, RELEASE, precompute_and_train
from lafid_assets.lafid_toml.settings_check import automation, ops_of
from lafid_assets.lafid_toml.settings_file import SettingsFile
from lafid_assets.schemas import FUSION_DIT
from lafid_assets.steps.partitions import CLIP_SHARDS, run_tags
from lafid_assets.training.precompute import dataset_shards
from resources.lake.lake import Lake
from resources.settings import Settings
from sensors.work import TRY, at_work, digest, or_skip, tries, waiting_runs

KIND = "train"


def weekly_training(cron: str, tags: Mapping[str, Any]) -> dg.ScheduleDefinition:
    """Everything frozen, training, evaluation and registry, in one run.

    Args:
        cron: when, UTC.
        tags: of its runs: what brings them to a machine with a GPU (`resources.trainer.launch`).
    """

    @dg.schedule(
        name="weekly_training",
        job=precompute_and_train(tags),
        cron_schedule=cron,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Precomputes and trains when the dataset is newer than what was last trained on and no run waits; the gate "
        "decides whether the model becomes champion. `train_cron` and `tries` are in [automation] of lafid.toml.",
    )
    @or_skip
    def schedule(
        context: dg.ScheduleEvaluationContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
    ) -> dg.RunRequest | dg.SkipReason:
        if not lake.is_there() or not (version := _newer_version(lake)):
            return dg.SkipReason("no dataset is newer than what was last trained on")
        if not (shards := dataset_shards(lake)):
            return dg.SkipReason("the dataset has no clips")
        if waiting := waiting_runs(context.instance):
            return dg.SkipReason(f"{waiting} runs wait in the queue")
        if busy := at_work(context.instance, lake, (*PRECOMPUTE, *RELEASE)):
            return dg.SkipReason(busy)
        file = SettingsFile.of(settings.home)
        told, clock = ops_of(file, {}), automation(file)
        work = f"{KIND} {version} {digest(json.dumps([told.get(asset) for asset in (*PRECOMPUTE, *RELEASE)]))}"
        if (asked := tries(context.instance, KIND)[work]) >= clock.tries:
            return dg.SkipReason(
                f"training on dataset {version} did not get done in {asked} tries: read its runs, mend the cause, and run "
                "precompute_and_train"
            )
        this_try = f"{work} {asked + 1}"
        return dg.RunRequest(run_key=this_try, tags={TRY: this_try} | run_tags(_in_order(context.instance, shards)))

    return schedule


def _newer_version(lake: Lake) -> str:
    """The dataset's version, if it was made after the one of the last training; else nothing."""
    with lake.snapshot() as reader:
        standing = standing_version(reader)
        trained = set(reader.sql(f"SELECT dataset_version FROM {FUSION_DIT.name}")["dataset_version"])
        known = known_versions(reader)
    if standing is None:
        return ""
    numbers = dict(known.select("dataset_version", "number").iter_rows())
    last = max((numbers.get(version, 0) for version in trained), default=0)
    return str(standing["dataset_version"]) if standing["number"] > last else ""


def _in_order(instance: dg.DagsterInstance, shards: list[str]) -> list[str]:
    """As Dagster orders them: a run takes all that lie between the first and the last."""
    instance.add_dynamic_partitions(str(CLIP_SHARDS.name), shards)
    return [shard for shard in instance.get_dynamic_partitions(str(CLIP_SHARDS.name)) if shard in set(shards)]
