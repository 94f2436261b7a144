"""What a step, a refresh and a question cost as the dataset grows: 10, 100 and 1,000 shards of 500 clips, laid by the project's code.

    python -m benchmarks.scale [--shards 10 100 1000] [--folder DIR] [--json]

Every operation runs in a process of its own on the same lake: CPU seconds and megabytes written are of the operation alone, peak
memory is the whole process's. The exponent lies between the last two sizes; from it follows the projection to 26,400 shards, which
is all of OpenHumanVid. Rows are generated (`scale_rows`); no video is decoded.

The figures beside ours are those of the design before DuckLake: Parquet a shard, and a DuckDB file copied after every step.
"""

from collections.abc import Sequence
from typing import Any

import polars as pl

from benchmarks.scale_rows import shard_frames, shard_name
from lafid_assets.lake import open_lake
from lafid_assets.schemas import POLICY_SETTINGS
from resources.lake import Lake
from resources.settings import Settings

ALL_SHARDS = 26_400
PUTS = 10
BLOCK = 25
"""Shards laid in one transaction: a first curation takes one each, but laying is not what is measured."""
BEFORE = {
    "put": "313 MB written",
    "uptodate": "2,241 MB written a shard",
    "register_nothing_new": "18 CPU s",
    "dataset": "7.6 CPU s, 0.47 GB",
}
"""At 1,000 shards, as measured on the design before."""


def lay(settings: Settings, first: int, count: int) -> None:
    """Put generated shards into the lake, every step under the fingerprint that makes it current."""
    from lafid_assets.cli.materialize import CurationChoices

    lake = open_lake(settings)
    steps = CurationChoices().steps
    for start in range(first, first + count, BLOCK):
        numbers = range(start, min(start + BLOCK, first + count))
        _lay_block(lake, numbers, steps)
    lake.close()


def _lay_block(lake: Lake, numbers: Sequence[int], steps: Sequence[tuple[Any, Any]]) -> None:
    settings = _settings(steps)
    per_shard = [shard_frames(number, {name: sha for name, (sha, _) in settings.items()}) for number in numbers]
    frames = {name: pl.concat([shard[name] for shard in per_shard]) for name in per_shard[0]}
    policies = POLICY_SETTINGS.frame({"policy_sha256": sha, "settings": text} for sha, text in settings.values())
    shards = [shard_name(number) for number in numbers]

    def change(writer: Any) -> None:
        registered = {name: frames[name] for name in ("clip_files", "clip_rows")}
        writer.put(registered, dict.fromkeys(shards, "registered"))
        writer.add(POLICY_SETTINGS.name, policies)
        for step, config in steps:
            own = {table.name: frames[table.name] for table in step.writes if table.name in frames}
            stamps = writer.stamps(step.reads, shards)
            facts = step.facts(config)
            writer.put(own, {shard: step.fingerprint(stamps, shard, facts) for shard in shards})

    lake.commit(change)
