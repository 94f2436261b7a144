"""New table parts and clips in the drop folder become shards, and every new shard a run. Off until somebody switches it on.

Belongs here: noticing that the folder has changed and has settled. Not here: reading it (`lafid_assets.ingest`).
"""

import hashlib
import time
from pathlib import Path

import dagster as dg

from lafid_assets.ingest.listing import list_files
from lafid_assets.ingest.provenance import SourceUnusable
from lafid_assets.ingest.registration import register
from lafid_assets.jobs import curate_shard
from lafid_assets.partitions import CLIP_SHARDS
from lafid_assets.settings_file import SettingsFile
from resources.lake import Lake
from resources.settings import Settings

SETTLED_S = 30.0


@dg.sensor(
    name="clip_drop",
    job=curate_shard,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Watches $LAFID_DROP (default <home>/drop): clips that no shard holds yet become shards and are curated.",
)
def clip_drop(
    context: dg.SensorEvaluationContext,
    lake: dg.ResourceParam[Lake],
    settings: dg.ResourceParam[Settings],
) -> dg.SensorResult | dg.SkipReason:
    """Register what is new once nothing in the folder has changed for half a minute: half-copied files are left alone."""
    drop = settings.drop
    if not drop.is_dir():
        return dg.SkipReason(f"there is no folder {drop}: make it and put clips there, or set LAFID_DROP")
    state, newest = folder_state(drop)
    if state == context.cursor:
        return dg.SkipReason(f"nothing has changed in {drop}")
    if time.time() - newest < SETTLED_S:
        return dg.SkipReason(f"files in {drop} are still changing")
    try:
        files = list_files(drop)
    except SourceUnusable as error:
        return dg.SkipReason(str(error))
    registered = register(lake, files, SettingsFile.of(settings.home).general.sources.clips_per_shard)
    # Not only what is new: a tick that died after registering must not leave its shards behind for ever.
    known = set(context.instance.get_dynamic_partitions(str(CLIP_SHARDS.name)))
    new = sorted(set(registered.shards) - known)
    run_keys = {shard: f"{shard}:{state[:12]}" for shard in registered.altered_shards} | {shard: shard for shard in new}
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=key, partition_key=shard) for shard, key in sorted(run_keys.items())],
        dynamic_partitions_requests=[CLIP_SHARDS.build_add_request(new)] if new else [],
        cursor=state,
    )


def folder_state(folder: Path) -> tuple[str, float]:
    """Hash over names, sizes and times of all files below `folder`, and the newest modification time."""
    digest, newest = hashlib.sha256(), 0.0
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        facts = path.stat()
        digest.update(f"{path.relative_to(folder)}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode())
        newest = max(newest, facts.st_mtime)
    return digest.hexdigest(), newest
