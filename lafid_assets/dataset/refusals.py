"""When no dataset is made: clips would be lost by accident, or shards stand under different settings.

Belongs here: finding out, and refusing. Not here: how clips end (`funnel`), which settings decide a table (`Step.deciding`), what
a run is told (`settings_check`).

A clip that is rejected, a duplicate or forgotten is decided about; so is one whose file has another content now, or whose
recording is cut otherwise. A clip that failed this time, whose file is away or whose shard was not processed to the end is lost.
"""

import json
from typing import Any

import polars as pl

from lafid_assets.dataset.funnel import Outcomes
from lafid_assets.ingest.tombstones import Tombstones
from lafid_assets.jobs import PER_SHARD
from lafid_assets.outcomes import DECIDED, KEPT, Status
from lafid_assets.policy_settings import all_settings
from lafid_assets.schemas import CLIP_CONTENTS, LAFID_DATASET
from lafid_assets.steps.step_registry import all_steps
from model.wording import first_few
from resources.lake.duckdb_extensions import quoted
from resources.lake.reader import Reader
from resources.lake.tables import PARTITIONS
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


_SHOWN = 4


def mixed(reader: Reader) -> list[str]:
    """A line for every step of a shard whose shards differ: the shards of each setting, and the lines that are said otherwise.

    Shards that were made before settings were kept say nothing.
    """
    tables = {all_steps()[asset][0].table.name: asset for asset in PER_SHARD}
    rows = reader.sql(
        f"SELECT table_name, settings_sha256, list(partition ORDER BY partition) FROM {PARTITIONS} "
        f"WHERE settings_sha256 IS NOT NULL AND table_name IN ({', '.join(map(quoted, tables))}) "
        "GROUP BY ALL ORDER BY min(partition)"
    ).rows()
    found = []
    for table, asset in tables.items():
        shards = {sha256: named for name, sha256, named in rows if name == table}
        if len(shards) > 1:
            settings = all_settings(reader)
            lines = _differing_lines([json.loads(settings[sha256]) for sha256 in shards])
            found.append(f"{asset} of {' and '.join(first_few(named, _SHOWN) for named in shards.values())}: {'; '.join(lines)}")
    return found


def refuse_mixed(reader: Reader) -> None:
    """Refuses a dataset whose tables are not all under one setting.

    Raises:
        ValueError: a table has several.
    """
    if told := mixed(reader):
        raise ValueError(
            f"the shards stand under different settings ({', '.join(line.partition(' of ')[0] for line in told)}): materialize "
            "these tables for all shards under one (`lafid settings diff` counts them, `lafid curate` does it), or set "
            f"mixed_settings of lafid_dataset. They differ in {'. '.join(told)}."
        )


def _differing_lines(settings: list[dict[str, Any]]) -> list[str]:
    """`line: a, b` for each line in which they differ; of a group of lines those of it that do."""
    names = sorted({name for said in settings for name in said})
    found = []
    for name in names:
        values = [said.get(name) for said in settings]
        groups = [value for value in values if isinstance(value, dict)]
        if len(groups) == len(values):
            found += [f"{name}.{line}" for line in _differing_lines(groups)]
        elif len(set(told := [json.dumps(value) for value in values])) > 1:
            found.append(f"{name}: {', '.join(told)}")
    return found
