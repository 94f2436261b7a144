"""A dataset loses no clip by accident: what the last one holds is in the next, unless something was decided about it.

Belongs here: which clips would get lost, and refusing that. Not here: how clips end (`funnel`), what differs between versions
(`version_diff`).

A clip that is rejected, a duplicate or forgotten is decided about; so is one whose file has another content now, or whose
recording is cut otherwise. A clip that failed this time, whose file is away or whose shard was not processed to the end is lost.
"""

import polars as pl

from lafid_assets.dataset.funnel import Outcomes
from lafid_assets.ingest.tombstones import Tombstones
from lafid_assets.outcomes import DECIDED, KEPT, Status
from lafid_assets.schemas import CLIP_CONTENTS, LAFID_DATASET
from lafid_assets.wording import first_few
from resources.lake.duckdb_extensions import quoted
from resources.lake.reader import Reader
from resources.store.file_store import FileStore

_LOST = f"""
    WITH decided AS (
        SELECT clip_id, status, step, reason,
            status IN ('{KEPT}', '{Status.REJECTED}') OR reason IN ({", ".join(map(quoted, sorted(DECIDED)))}) AS is_decided
        FROM {{outcomes}}
    )
    SELECT held.clip_id, held.shard, held.content_sha256, coalesce(now.status || ': ' || now.reason, 'no longer there') AS ending
    FROM {LAFID_DATASET.name} held
    LEFT JOIN decided now USING (clip_id)
    LEFT JOIN decided recording ON recording.clip_id = held.recording_id
    LEFT JOIN {CLIP_CONTENTS.name} file ON file.clip_root = held.clip_root AND file.path = held.path
    WHERE NOT CASE WHEN now.clip_id IS NOT NULL THEN now.is_decided
        ELSE coalesce(recording.is_decided, false) OR coalesce(file.content_sha256 <> held.content_sha256, false) END
    ORDER BY held.clip_id
"""


class ClipsLost(ValueError):
    """Clips would be missing from the dataset though nothing was decided about them; the message names them and the remedy."""


def refuse_lost(reader: Reader, outcomes: Outcomes, store: FileStore) -> None:
    """Refuses a dataset without clips that the standing one holds and nothing was decided about.

    Args:
        outcomes: how every clip ends now.
        store: holds the tombstones.

    Raises:
        ClipsLost: there are such clips.
    """
    lost = reader.sql(_LOST.format(outcomes=outcomes.rows))
    if lost.is_empty():
        return
    tombstones = Tombstones(store)
    forgotten = [tombstones.know_clip(clip) or tombstones.know_content(content) for clip, _, content, _ in lost.iter_rows()]
    lost = lost.filter(~pl.Series(forgotten))
    if lost.height:
        endings = lost.group_by("ending").len().sort("len", "ending", descending=[True, False])
        raise ClipsLost(
            f"{lost.height} clips of the last dataset would be gone though nothing was decided about them "
            f"({first_few(f'{count} {ending}' for ending, count in endings.iter_rows())}), the first {lost['clip_id'][0]}, of "
            f"{first_few(lost['shard'].unique().sort())}: materialize these shards again when their files can be read, or set "
            "lost_clips of lafid_dataset to publish without them"
        )
