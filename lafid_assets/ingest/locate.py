"""Where the content of a clip can be read now.

Belongs here: clips -> files that exist on this machine. Not here: which file holds which content (`raw_clips`).
"""

import os
from collections.abc import Collection
from pathlib import Path

from lafid_assets.ingest.media_probe import resolve
from lafid_assets.outcomes import ClipError
from resources.lake import Lake

_FILES = """
SELECT k.clip_id, k.clip_root, k.path, k.size_bytes, k.mtime_ns
FROM clip_contents k
JOIN clips c ON c.shard = k.clip_shard AND c.clip_id = k.clip_id AND c.content_sha256 = k.content_sha256
JOIN clip_roots r ON r.clip_root = k.clip_root
WHERE k.clip_shard = ?
ORDER BY k.clip_id, r.seen_at DESC, k.clip_root, k.path
"""


class ClipsAway(OSError):
    """No file of a clip can be reached; the message names folder and remedy."""


def locate(lake: Lake, shard: str, clip_ids: Collection[str] | None = None) -> dict[str, Path]:
    """Clip to a file that holds its content, of those that can be reached: of several the one whose folder was seen last.

    A file that has changed since its content was hashed counts as gone.

    Args:
        clip_ids: only these; None for all clips of the shard.
    """
    found: dict[str, Path] = {}
    for clip_id, root, path, size_bytes, mtime_ns in lake.sql(_FILES, [shard]).iter_rows():
        if clip_id in found or (clip_ids is not None and clip_id not in clip_ids):
            continue
        try:
            file = resolve(Path(root), path)
        except ClipError:  # a path that leads out of its folder is nobody's to read
            continue
        if file is not None and _is_as_it_was(file, size_bytes, mtime_ns):
            found[clip_id] = file
    return found


def require_located(lake: Lake, shard: str, clip_ids: Collection[str]) -> dict[str, Path]:
    """The same of clips that have to be opened.

    Raises:
        ClipsAway: one of them cannot be reached.
    """
    found = locate(lake, shard, clip_ids)
    away = sorted(set(clip_ids) - set(found))
    if away:
        roots = lake.sql(
            "SELECT DISTINCT clip_root FROM clip_contents WHERE clip_shard = ? AND list_contains(?, clip_id)", [shard, away]
        )
        raise ClipsAway(
            f"{len(away)} clips of {shard}, the first {away[0]}, lie nowhere that can be reached; they were in "
            f"{', '.join(sorted(roots['clip_root']))}: mount it, or run `lafid curate` on the folder where they are now. "
            "What was measured stays"
        )
    return found


def _is_as_it_was(file: Path, size_bytes: int | None, mtime_ns: int | None) -> bool:
    try:
        state = os.stat(file)
    except OSError:
        return False
    return (state.st_size, state.st_mtime_ns) == (size_bytes, mtime_ns)
