"""Files in the drop folder become shards, and every shard that holds something new a run. Off until somebody switches it on.

Belongs here: which runs to ask for. Not here: which files have arrived (`lafid_assets.ingest.arrivals`), taking them in
(`lafid_assets.ingest.registration`).
"""

import time
from pathlib import Path

import dagster as dg

from lafid_assets.ingest.arrivals import Company, look
from lafid_assets.ingest.clip_root import ClipRoot, root_at
from lafid_assets.ingest.provenance import SourceUnusable
from lafid_assets.ingest.registration import register
from lafid_assets.jobs import PER_SHARD, curate_shard
from lafid_assets.lafid_toml.settings_check import ops_of
from lafid_assets.lafid_toml.settings_file import SettingsFile, Sources
from lafid_assets.schemas import CLIP_FILES, CLIP_ROWS
from lafid_assets.steps.curation_steps import configured
from lafid_assets.steps.partitions import CLIP_SHARDS
from lafid_assets.steps.staleness import stale_shards
from resources.lake.lake import Lake
from resources.settings import Settings
from resources.store.s3_objects import BucketAway
from sensors.work import digest, or_skip

LOOKS = "drop_looks.parquet"
"""A file of the home: what the last look saw."""
MOST_REQUESTS = 50
"""Runs that one tick asks for: Dagster makes each while the tick waits."""


@dg.sensor(
    name="clip_drop",
    job=curate_shard,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Watches $LAFID_DROP (a folder, default <home>/drop, or s3://bucket/prefix): files that two looks find equal are "
    "taken in and curated.",
)
@or_skip
def clip_drop(
    context: dg.SensorEvaluationContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> dg.SensorResult | dg.SkipReason:
    """Take in what has arrived; ask for a run of every stale shard of the folder, once for each content that it has.

    A tick that dies anywhere leaves nothing behind: what it took in is stale, and its runs are known to Dagster by their keys.
    """
    drop, file = settings.drop, SettingsFile.of(settings.home)
    if isinstance(drop, Path) and not drop.is_dir():
        return dg.SkipReason(f"there is no folder {drop}: make it and put clips there, or set LAFID_DROP")
    try:
        root = root_at(drop)
    except SourceUnusable as error:
        return dg.SkipReason(str(error))
    notes = _taken_in(context, lake, root, settings.home / LOOKS, file.general.sources)
    keys, cursor = _asked_for(lake, root.address, file, context.cursor or "")
    if not keys:
        return dg.SkipReason("; ".join(notes) or f"nothing has changed in {root.address}")
    new = sorted(set(keys) - set(context.instance.get_dynamic_partitions(str(CLIP_SHARDS.name))))
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=key, partition_key=shard) for shard, key in keys.items()],
        dynamic_partitions_requests=[CLIP_SHARDS.build_add_request(new)] if new else [],
        cursor=cursor,
    )


def _taken_in(context: dg.SensorEvaluationContext, lake: Lake, root: ClipRoot, looks: Path, sources: Sources) -> list[str]:
    """Take in what has arrived at the place; what there is to tell of the rest."""
    where = f"SELECT DISTINCT path FROM {CLIP_FILES.name} WHERE clip_root = ?"
    known = set(lake.sql(where, [root.address])["path"]) if lake.is_there() else set()
    company = Company(sources.least_new_clips, sources.longest_wait_minutes * 60)
    try:
        arrived = look(root, looks, known, company, time.time())
    except (SourceUnusable, BucketAway) as error:
        return [str(error)]
    for fault in arrived.faults:
        context.log.error(fault)
    if not arrived.listed.is_empty():
        with lake.leases.at_work("clip_drop"):
            register(lake, arrived.listed, sources.clips_per_shard)
    still = [f"{arrived.settling} files still change"] * bool(arrived.settling)
    company_for = [f"{arrived.waiting} clips wait for more"] * bool(arrived.waiting)
    return [*arrived.faults, *still, *company_for]


def _asked_for(lake: Lake, root: str, file: SettingsFile, cursor: str) -> tuple[dict[str, str], str]:
    """Shard to the key of its run, of the next shards that hold something nobody was asked to curate; and the new cursor.

    Args:
        cursor: `<state>:<last shard asked for>`, of the state of the folder's shards at that time; empty before the first one.
    """
    if not lake.is_there():
        return {}, cursor
    with lake.snapshot() as reader:
        shards = reader.sql(f"SELECT DISTINCT shard FROM {CLIP_FILES.name} WHERE clip_root = ? ORDER BY shard", [root])["shard"]
        stamps = reader.stamps([CLIP_FILES.name, CLIP_ROWS.name], shards)
        digests = {
            shard: digest(*(stamps[table, shard].digest for table in (CLIP_FILES.name, CLIP_ROWS.name))) for shard in shards
        }
        state, (before, _, last) = digest(*digests.values()), cursor.partition(":")
        last = last if before == state else ""
        if not shards.len() or last == shards[-1]:
            return {}, cursor
        stale = stale_shards(reader, configured(PER_SHARD, ops_of(file, {})), [shard for shard in shards if shard > last])
    asked = sorted(stale)[:MOST_REQUESTS]
    reached = asked[-1] if len(asked) < len(stale) else shards[-1]
    return {shard: f"{shard}:{digests[shard]}" for shard in asked}, f"{state}:{reached}"
