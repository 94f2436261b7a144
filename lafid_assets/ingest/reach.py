"""What it means that the file of a clip is away: what was measured stays and waits, what has to be measured cannot be.

Belongs here: the files that a step must open, or an error that names the folders. Not here: finding files (`locate`).
"""

from collections.abc import Collection
from pathlib import Path

import polars as pl

from lafid_assets.ingest.locate import locate
from resources.lake import Lake


class FilesAway(OSError):
    """Clips have to be measured, and no file of theirs can be reached; the message names the folders and the remedy."""


def require_files(lake: Lake, shard: str, clip_ids: Collection[str]) -> dict[str, Path]:
    """A file of every clip.

    Raises:
        FilesAway: clips without a file on this machine.
    """
    found = locate(lake, shard) if clip_ids else {}
    away = [clip_id for clip_id in clip_ids if clip_id not in found]
    if away:
        known = lake.sql("SELECT clip_id, clip_root FROM clip_contents WHERE clip_shard = ?", [shard])
        folders = known.filter(pl.col("clip_id").is_in(away)).group_by("clip_root").agg(pl.col("clip_id").n_unique())
        listed = ", ".join(f"{folder} ({clips})" for folder, clips in folders.sort("clip_root").rows())
        raise FilesAway(
            f"{len(away)} clips of {shard} have to be measured and none of their files can be reached, the first {min(away)}. "
            f"They lay in {listed or 'no folder that is known'}: mount that, or curate the folder where they are now; nothing "
            "that was measured is lost"
        )
    return {clip_id: found[clip_id] for clip_id in clip_ids}
