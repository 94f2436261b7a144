"""`raw_clips`: a row a clip, the released table joined with the file on disk.

Belongs here: the asset and its kernel. Not here: reading tables (`openhumanvid`), headers (`media_probe`).
"""

import os
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from lafid_assets.ingest.media_probe import content_sha256, probe, resolve
from lafid_assets.ingest.openhumanvid import MEASURES, find_file
from lafid_assets.ingest.shards import MANIFEST_TABLE
from lafid_assets.outcomes import ClipError, Reason, Status
from lafid_assets.progress import track
from lafid_assets.schemas import RAW_CLIPS
from lafid_assets.step import Step
from resources.shard_store import ShardStore
from resources.warehouse import Warehouse

STEP = Step(writes=(RAW_CLIPS,), reads=(MANIFEST_TABLE,), group="ingest", code_version="1")
NO_FACTS: dict[str, Any] = dict.fromkeys(
    (
        "fps",
        "frame_count",
        "width",
        "height",
        "duration_s",
        "video_codec",
        "has_audio",
        "file_size_bytes",
        "content_sha256",
    )
)


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
        lambda: {RAW_CLIPS.name: probe_clips(manifest)},
        clips_in=manifest["clip_id"],
        outside=[_file_state(row) for row in manifest.iter_rows(named=True)],
    )


def probe_clips(manifest: pl.DataFrame) -> pl.DataFrame:
    """Find, hash and probe the file of every manifest row; a fault in one file is that clip's row and nobody else's."""
    rows = [_row(row) for row in track(manifest.iter_rows(named=True), f"probing {manifest['shard'][0]}", manifest.height)]
    return RAW_CLIPS.frame(rows)


def _row(row: dict[str, Any]) -> dict[str, Any]:
    known = {name: row[name] for name in ("clip_id", "shard", "path", "clip_root", "caption", *MEASURES, "source", "licence")}
    facts = dict(NO_FACTS)
    status, reason, detail = Status.OK, None, None
    try:
        path = resolve(Path(row["clip_root"]), row["path"])
        if path is None:
            status, reason, detail = Status.SKIPPED, Reason.FILE_MISSING, "the table names a file that is not on disk"
        else:
            facts |= {"file_size_bytes": path.stat().st_size, "content_sha256": content_sha256(path)}
            if row["in_table"]:
                facts |= vars(probe(path))
            else:
                status, reason, detail = Status.SKIPPED, Reason.NO_ROW, "the file is in no table"
    except ClipError as error:
        status, reason, detail = Status.ERROR, error.reason, error.detail
    except OSError as error:
        status, reason, detail = Status.ERROR, Reason.UNREADABLE, f"the file cannot be read: {error.strerror}"
    return known | facts | {"status": status, "reason": reason, "detail": detail}


def _file_state(row: dict[str, Any]) -> tuple[str, int, int]:
    """What changes when a file is replaced: enough to notice, cheap enough to ask every time."""
    path = find_file(Path(row["clip_root"]), row["path"])
    if not os.path.exists(path):
        return row["path"], -1, -1
    state = path.stat()
    return row["path"], state.st_size, state.st_mtime_ns
