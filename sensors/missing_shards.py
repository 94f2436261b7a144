"""Shards that were registered and never finished are curated by the clock. Off until somebody switches it on in the UI.

Belongs here: which shards to ask for, and how often. Not here: what is current (`lafid_assets.steps.staleness`), files that are
new (`clip_drop`).
"""

import json

import dagster as dg

from lafid_assets.jobs import PER_SHARD, curate_shard
from lafid_assets.lafid_toml.settings_check import Ops, automation, deciding, deciding_sha256, ops_of
from lafid_assets.lafid_toml.settings_file import SettingsFile
from lafid_assets.runs.run_settings import SETTINGS_TAG
from lafid_assets.schemas import CLIP_FILES, CLIP_ROWS
from lafid_assets.steps.curation_steps import configured
from lafid_assets.steps.partitions import CLIP_SHARDS
from lafid_assets.steps.staleness import stale_shards, unfinished_shards
from lafid_assets.wording import first_few
from resources.lake.lake import Lake
from resources.settings import Settings
from sensors.work import TRY, at_work, digest, or_skip, tries, waiting_runs

KIND = "curate"


def missing_shards(cron: str) -> dg.ScheduleDefinition:
    """A few at a look, and none while others are on their way.

    Args:
        cron: when, UTC.
    """

    @dg.schedule(
        name="missing_shards",
        job=curate_shard,
        cron_schedule=cron,
        default_status=dg.DefaultScheduleStatus.STOPPED,
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
        asked = tries(context.instance, KIND)
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
        settings_tag = {SETTINGS_TAG: deciding_sha256(told)[:16]}
        return [_request(shard, f"{missing[shard]} {asked[missing[shard]] + 1}", settings_tag) for shard in left]

    return schedule


def _request(shard: str, this_try: str, settings_tag: dict[str, str]) -> dg.RunRequest:
    """By the tag `lafid curate` knows the run before it has begun, and joins it."""
    return dg.RunRequest(run_key=this_try, partition_key=shard, tags={TRY: this_try} | settings_tag)


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
    return {shard: f"{KIND} {shard} {digest(rules, *digests[shard])}" for shard in wanted}
