"""What runs by the clock. Off until somebody switches it on in the UI.

Belongs here: when to ask for a run, and for which. Not here: what is current (`lafid_assets.steps.staleness`), what a dataset may
not lose (`lafid_assets.dataset.refusals`), which model becomes champion (`lafid_assets.release.gates`), new files (`clip_drop`).

Every schedule takes `cron`: when, in UTC.
"""

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import dagster as dg

from lafid_assets.checks.dataset_checks import judge_dataset
from lafid_assets.dataset.versions import known_versions, standing_version
from lafid_assets.jobs import (
    DATASET,
    PER_SHARD,
    PRECOMPUTE,
    RELEASE,
    check_health,
    compact_lake,
    curate_shard,
    on_gpus,
    refresh_dataset,
)
from lafid_assets.lafid_toml.settings_check import Ops, automation, deciding, deciding_sha256, ops_of
from lafid_assets.lafid_toml.settings_file import SettingsFile
from lafid_assets.runs.instance import is_cluster
from lafid_assets.runs.run_settings import SETTINGS_TAG
from lafid_assets.schemas import CLIP_FILES, CLIP_ROWS, FUSION_DIT
from lafid_assets.steps.curation_steps import configured, copy_is_current, dataset_is_current
from lafid_assets.steps.partitions import CLIP_SHARDS, run_tags
from lafid_assets.steps.staleness import stale_shards, unfinished_shards
from lafid_assets.training.precompute import dataset_shards
from model.wording import first_few
from resources.lake.lake import Lake
from resources.settings import Settings
from sensors.work import TRY, at_work, digest, or_skip, tries, waiting_runs

CURATE, TRAIN = "curate", "train"
"""How the names of tries begin."""
_OFF = dg.DefaultScheduleStatus.STOPPED
_clock = partial(dg.ScheduleDefinition, default_status=_OFF)

daily_compaction = _clock(
    name="daily_compaction",
    job=compact_lake,
    cron_schedule="0 4 * * *",
    description="Puts the lake's small files together every day at 04:00 UTC, as `lafid compact` does.",
)


def daily_health(cron: str) -> dg.ScheduleDefinition:
    """Looks for what fell through."""
    return _clock(
        name="daily_health",
        job=check_health,
        cron_schedule=cron,
        description="Looks for shards that were never finished, files that tables name and the store lacks, and a registry that "
        "differs from the tables; its run fails and says what it found. When is `health_cron` in lafid.toml.",
    )


def daily_checks(cron: str) -> dg.ScheduleDefinition:
    """Judges the dataset, whether it is refreshed or not."""
    return _clock(
        name="daily_checks",
        job=judge_dataset,
        cron_schedule=cron,
        description="Runs the checks of lafid_dataset that warn, also on days without a refresh. When is `health_cron` in "
        "lafid.toml.",
    )


def missing_shards(cron: str) -> dg.ScheduleDefinition:
    """Curates shards that are registered and not finished: a few at a look, and none while others are on their way."""

    @dg.schedule(
        name="missing_shards",
        job=curate_shard,
        cron_schedule=cron,
        default_status=_OFF,
        description="Curates shards that are registered and not finished, `shards_at_once` at a look and none while runs wait; "
        "`curate_cron`, `curate_again` and `tries` are in [automation] of lafid.toml.",
    )
    @or_skip
    def schedule(
        context: dg.ScheduleEvaluationContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
    ) -> list[dg.RunRequest] | dg.SkipReason:
        if not lake.is_there():
            return dg.SkipReason("nothing has been registered yet")
        if waiting := waiting_runs(context.instance):
            return dg.SkipReason(f"{waiting} runs wait in the queue")
        if busy := at_work(context.instance, lake, PER_SHARD):
            return dg.SkipReason(busy)
        file = SettingsFile.of(settings.home)
        clock, told = automation(file), ops_of(file, {})
        missing = _missing(lake, told, again=clock.curate_again)
        asked = tries(context.instance, CURATE)
        given_up = [shard for shard, work in missing.items() if asked[work] >= clock.tries]
        left = sorted(missing.keys() - set(given_up), key=lambda shard: (asked[missing[shard]], shard))[: clock.shards_at_once]
        told_of = (
            f"{first_few(given_up)} did not get done in {clock.tries} tries: read their runs, mend the cause, materialize them"
        )
        if not left:
            return dg.SkipReason(told_of if given_up else "no shard is missing")
        if given_up:
            context.log.warning(told_of)
        context.instance.add_dynamic_partitions(str(CLIP_SHARDS.name), left)
        # By the settings' tag `lafid curate` knows the run before it has begun, and joins it.
        tags = {SETTINGS_TAG: deciding_sha256(told)[:16]}
        this_try = {shard: f"{missing[shard]} {asked[missing[shard]] + 1}" for shard in left}
        return [dg.RunRequest(name, partition_key=shard, tags={TRY: name} | tags) for shard, name in this_try.items()]

    return schedule


def _missing(lake: Lake, told: Ops, *, again: bool) -> dict[str, str]:
    """Shard to what is asked for: a name that changes with its files, the settings and the code, after which it is tried anew.

    Args:
        again: whether shards count that were finished under other settings.
    """
    steps = configured(PER_SHARD, told)
    with lake.snapshot() as reader:
        files = reader.stamps([CLIP_FILES.name, CLIP_ROWS.name])
        stale = stale_shards(reader, steps, [shard for table, shard in files if table == CLIP_FILES.name])
        wanted = sorted(stale if again else unfinished_shards(reader, steps, stale))
    rules = json.dumps([deciding(told), [step.code_version for step, _ in steps]], sort_keys=True)
    digests = {
        shard: [stamp.digest for table in (CLIP_FILES.name, CLIP_ROWS.name) if (stamp := files.get((table, shard)))]
        for shard in wanted
    }
    return {shard: f"{CURATE} {shard} {digest(rules, *digests[shard])}" for shard in wanted}


def nightly_refresh(cron: str) -> dg.ScheduleDefinition:
    """Puts the dataset together over all shards that are there. What is current starts no run."""

    @dg.schedule(
        name="nightly_refresh",
        job=refresh_dataset,
        cron_schedule=cron,
        default_status=_OFF,
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
        # In a cluster a node writes the copy, into its own home.
        if dataset_is_current(lake, told) and (is_cluster(context.instance) or copy_is_current(lake, settings)):
            return dg.SkipReason("the dataset is current")
        return dg.RunRequest()

    return schedule


def weekly_training(cron: str, tags: Mapping[str, Any]) -> dg.ScheduleDefinition:
    """Everything frozen, training, evaluation and registry, in one run, when the dataset is newer than the last training.

    Args:
        tags: of its runs: what brings them to a machine with a GPU (`resources.trainer.launch`).
    """

    @dg.schedule(
        name="weekly_training",
        job=on_gpus("precompute_and_train", tags),
        cron_schedule=cron,
        default_status=_OFF,
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
        work = f"{TRAIN} {version} {digest(json.dumps([told.get(asset) for asset in (*PRECOMPUTE, *RELEASE)]))}"
        if (asked := tries(context.instance, TRAIN)[work]) >= clock.tries:
            return dg.SkipReason(
                f"training on dataset {version} did not get done in {asked} tries: read its runs, mend the cause, and run "
                "precompute_and_train"
            )
        this_try, name = f"{work} {asked + 1}", str(CLIP_SHARDS.name)
        # In Dagster's order: a run takes all shards that lie between the first and the last.
        context.instance.add_dynamic_partitions(name, shards)
        in_order = [shard for shard in context.instance.get_dynamic_partitions(name) if shard in set(shards)]
        return dg.RunRequest(this_try, tags={TRY: this_try} | run_tags(in_order))

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
