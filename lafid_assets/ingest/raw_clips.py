"""`raw_clips`: a row a clip, the released table joined with the file on disk.

Belongs here: the asset and its kernel. Not here: reading tables (`openhumanvid`), headers (`media_probe`).
"""

from dataclasses import fields
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from lafid_assets.ingest.clip_probe import LIMITS, ProbedClip, ProbeTask, probe_clip, probed
from lafid_assets.ingest.media_probe import MediaFacts
from lafid_assets.ingest.openhumanvid import MEASURES, find_file
from lafid_assets.ingest.provenance import UNSTATED
from lafid_assets.ingest.shards import MANIFEST_TABLE
from lafid_assets.ingest.tombstones import Tombstones
from lafid_assets.progress import track
from lafid_assets.schemas import RAW_CLIPS
from lafid_assets.step import Step
from lafid_assets.workers import map_isolated
from resources.shard_store import ShardStore
from resources.warehouse import Warehouse

STEP = Step(writes=(RAW_CLIPS,), reads=(MANIFEST_TABLE,), group="ingest", code_version="2")
NO_FACTS: dict[str, Any] = dict.fromkeys(field.name for field in fields(MediaFacts))


class RawClipsConfig(dg.Config):
    """Nothing can be chosen here: the files are what they are."""


@dg.asset(**STEP.arguments(deps=[]))
def raw_clips(
    context: dg.AssetExecutionContext,
    config: RawClipsConfig,
    store: dg.ResourceParam[ShardStore],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult:
    """A row a clip: the released OpenHumanVid table joined with the file on disk, probed and hashed."""
    manifest = store.read_table(MANIFEST_TABLE, context.partition_key)
    return STEP.materialize(
        context,
        config,
        store,
        warehouse,
        lambda: {RAW_CLIPS.name: Tombstones(store).hide(probe_clips(manifest))},
        clips_in=manifest["clip_id"],
        outside=[_file_state(row) for row in manifest.iter_rows(named=True)],
    )


def probe_clips(manifest: pl.DataFrame) -> pl.DataFrame:
    """Find, hash and probe the file of every manifest row in child processes; a fault in one file is that clip's row alone."""
    rows = manifest.to_dicts()
    tasks = [ProbeTask(Path(row["clip_root"]), row["path"], row["in_table"], max(0, _file_state(row)[1])) for row in rows]
    endings = map_isolated(probe_clip, tasks, lambda task: task.deadline_s, limits=LIMITS)
    found = dict(track(endings, f"probing {rows[0]['shard']}" if rows else "probing", len(rows)))
    return RAW_CLIPS.frame(_row(row, probed(found[index])) for index, row in enumerate(rows))


def _row(row: dict[str, Any], clip: ProbedClip) -> dict[str, Any]:
    known = {name: row[name] for name in ("clip_id", "shard", "path", "clip_root", "caption", *MEASURES, "source", "licence")}
    known["gate"] = row.get("gate") or UNSTATED.gate  # manifests did not always have it
    facts = NO_FACTS if clip.facts is None else vars(clip.facts)
    file = {"file_size_bytes": clip.file_size_bytes, "content_sha256": clip.content_sha256}
    return known | facts | file | {"status": clip.status, "reason": clip.reason, "detail": clip.detail}


def _file_state(row: dict[str, Any]) -> tuple[str, int, int]:
    """What changes when a file is replaced: enough to notice, cheap enough to ask every time."""
    try:
        state = find_file(Path(row["clip_root"]), row["path"]).stat()
    except (OSError, ValueError):  # there is none, or no disk could hold the name; `probe_clip` says which
        return row["path"], -1, -1
    return row["path"], state.st_size, state.st_mtime_ns
