"""Where the content of a clip can be read now.

Belongs here: clips -> files that exist on this machine, files -> the shards that have their clips. Not here: which file holds
which content (`raw_clips`).
"""

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from lafid_assets.ingest.clip_prefetch import object_at
from lafid_assets.ingest.folder_walk import time_ns
from lafid_assets.ingest.media_probe import resolve
from lafid_assets.outcomes import ClipError
from model.encoding.footage import File, Footage, RemoteFile, footage_in
from resources.lake.lake import Lake
from resources.lake.reader import Reader
from resources.store.s3_objects import is_address

_FILES = """
SELECT c.clip_id, k.clip_root, k.path, k.size_bytes, k.mtime_ns, k.etag, k.content_sha256,
    c.first_pts, c.last_pts, c.keyframe_pts, c.start_s
FROM clip_contents k
JOIN footage c ON c.shard = k.clip_shard AND coalesce(c.recording_id, c.clip_id) = k.clip_id
    AND c.content_sha256 = k.content_sha256
JOIN clip_roots r ON r.clip_root = k.clip_root
WHERE k.clip_shard = ? AND k.size_bytes IS NOT NULL
ORDER BY c.clip_id, r.seen_at DESC, k.clip_root, k.path
"""


class ClipsAway(OSError):
    """No file of a clip can be reached; the message names folder and remedy."""


def locate(lake: Lake, shard: str, clip_ids: Collection[str] | None = None) -> dict[str, Footage]:
    """Clip to a file that holds its content, and where in it, of those that can be reached: of several the one whose folder was
    seen last, and a file of a folder before an object on S3.

    A file that has changed since its content was hashed counts as gone; of an object that is seen when it is fetched, or where it
    was listed anew and could not be read.

    Args:
        clip_ids: only these; None for all clips of the shard.
    """
    found: dict[str, Footage] = {}
    remote: dict[str, Footage] = {}
    known: dict[tuple[str, str], File | None] = {}
    for row in lake.sql(_FILES, [shard]).iter_rows(named=True):
        clip_id, place = row["clip_id"], (row["clip_root"], row["path"])
        if clip_id in found or (clip_ids is not None and clip_id not in clip_ids):
            continue
        if place not in known:
            known[place] = _reached(row)
        if isinstance(file := known[place], RemoteFile):
            remote.setdefault(clip_id, footage_in(file, row))
        elif file is not None:
            found[clip_id] = footage_in(file, row)
    return remote | found


def file_at(clip: Mapping[str, Any]) -> File | None:
    """The file of a clip that knows one place of itself, or None when there is none. Whether an object is there is seen when it
    is fetched.

    Args:
        clip: its `clip_root`, `path` and `content_sha256`.

    Raises:
        ClipError: as `media_probe.resolve`.
    """
    root, path = clip["clip_root"], clip["path"]
    if is_address(root):
        return object_at(f"{root}/{path}", content_sha256=clip["content_sha256"])
    return resolve(Path(root), path)


def require_located(lake: Lake, shard: str, clip_ids: Collection[str]) -> dict[str, Footage]:
    """The same of clips that have to be opened.

    Raises:
        ClipsAway: one of them cannot be reached.
    """
    found = locate(lake, shard, clip_ids)
    away = sorted(set(clip_ids) - set(found))
    if away:
        roots = lake.sql(
            "SELECT DISTINCT clip_root FROM clip_contents WHERE clip_shard = ? AND clip_id IN "
            "(SELECT coalesce(recording_id, clip_id) FROM footage WHERE shard = ? AND list_contains(?, clip_id))",
            [shard, shard, away],
        )
        raise ClipsAway(
            f"{len(away)} clips of {shard}, the first {away[0]}, lie nowhere that can be reached; they were in "
            f"{', '.join(sorted(roots['clip_root']))}: mount it, or run `lafid curate` on the folder where they are now. "
            "What was measured stays"
        )
    return found


def home_shards(reader: Reader, shards: Iterable[str]) -> set[str]:
    """Other shards that have clips which files of these shards hold: a file that was moved or copied shows a clip of the shard
    that knew its content before."""
    return set(
        reader.sql(
            "SELECT DISTINCT clip_shard FROM clip_contents SEMI JOIN asked USING (shard) "
            "WHERE clip_shard <> shard AND clip_shard NOT IN (SELECT shard FROM asked)",
            asked=pl.DataFrame({"shard": list(shards)}, schema={"shard": pl.String}),
        )["clip_shard"]
    )


def shards_with_clips_away(reader: Reader, shards: Iterable[str]) -> set[str]:
    """Those of the shards with a clip that lies in folders alone that are not there."""
    roots = reader.sql("SELECT clip_root FROM clip_roots")["clip_root"]
    away = [root for root in roots if not is_address(root) and not os.path.isdir(root)]
    return set(
        reader.sql(
            "SELECT DISTINCT clip_shard FROM (SELECT clip_shard, clip_id FROM clip_contents SEMI JOIN asked USING (clip_shard) "
            "GROUP BY ALL HAVING bool_and(list_contains(?, clip_root)))",
            [away],
            asked=pl.DataFrame({"clip_shard": list(shards)}, schema={"clip_shard": pl.String}),
        )["clip_shard"]
    )


def _reached(row: Mapping[str, Any]) -> File | None:
    """The file of a row of `clip_contents`, where it can be reached as it was."""
    root, path = row["clip_root"], row["path"]
    if is_address(root):
        return object_at(f"{root}/{path}", row["size_bytes"], row["etag"], row["content_sha256"])
    try:
        file = resolve(Path(root), path)
        state = None if file is None else os.stat(file)
    except (ClipError, OSError):  # a path that leads out of its folder is nobody's to read
        return None
    return file if state and (state.st_size, time_ns(state)) == (row["size_bytes"], row["mtime_ns"]) else None
