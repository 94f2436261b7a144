"""Where the content of a clip can be read now.

Belongs here: clips -> files that exist on this machine. Not here: which file holds which content (`raw_clips`).
"""

import os
from collections.abc import Collection
from pathlib import Path

from lafid_assets.ingest.media_probe import resolve
from lafid_assets.outcomes import ClipError
from model.encoding.footage import Footage, footage_in
from resources.lake import Lake

_FILES = """
SELECT c.clip_id, k.clip_root, k.path, k.size_bytes, k.mtime_ns, c.first_pts, c.last_pts, c.keyframe_pts, c.start_s
FROM clip_contents k
JOIN footage c ON c.shard = k.clip_shard AND coalesce(c.recording_id, c.clip_id) = k.clip_id
    AND c.content_sha256 = k.content_sha256
JOIN clip_roots r ON r.clip_root = k.clip_root
WHERE k.clip_shard = ?
ORDER BY c.clip_id, r.seen_at DESC, k.clip_root, k.path
"""


class ClipsAway(OSError):
    """No file of a clip can be reached; the message names folder and remedy."""


def locate(lake: Lake, shard: str, clip_ids: Collection[str] | None = None) -> dict[str, Footage]:
    """Clip to a file that holds its content, and where in it, of those that can be reached: of several the one whose folder was
    seen last.

    A file that has changed since its content was hashed counts as gone.

    Args:
        clip_ids: only these; None for all clips of the shard.
    """
    found: dict[str, Footage] = {}
    known: dict[tuple[str, str], Path | None] = {}
    for row in lake.sql(_FILES, [shard]).iter_rows(named=True):
        clip_id, place = row["clip_id"], (row["clip_root"], row["path"])
        if clip_id in found or (clip_ids is not None and clip_id not in clip_ids):
            continue
        if place not in known:
            known[place] = _reached(*place, row["size_bytes"], row["mtime_ns"])
        if (file := known[place]) is not None:
            found[clip_id] = footage_in(file, row)
    return found


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


def _reached(root: str, path: str, size_bytes: int | None, mtime_ns: int | None) -> Path | None:
    """The file, where it can be reached as it was."""
    try:
        file = resolve(Path(root), path)
        state = None if file is None else os.stat(file)
    except (ClipError, OSError):  # a path that leads out of its folder is nobody's to read
        return None
    return file if state and (state.st_size, state.st_mtime_ns) == (size_bytes, mtime_ns) else None
