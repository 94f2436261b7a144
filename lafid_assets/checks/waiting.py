"""What is not current, and why: new content that waits, and since when, or other settings.

Belongs here: `staleness` with the times at which tables were written. Not here: what is current (`staleness`), judging
(`freshness`, `settings_differ`).
"""

from collections.abc import Collection

import polars as pl

from lafid_assets.steps.staleness import Chain, is_current, stale_shards, unsettled_shards
from lafid_assets.steps.step import Step
from resources.lake.duckdb_extensions import quoted
from resources.lake.lake import UNPARTITIONED
from resources.lake.reader import Reader
from resources.lake.tables import PARTITIONS

WAITING = {"asset": pl.String, "partition": pl.String, "hours": pl.Float64, "by_settings": pl.Boolean}


def what_waits(reader: Reader, per_shard: Chain, whole: Chain, shards: Collection[str]) -> pl.DataFrame:
    """A row a shard that is not current, at the first step where it is not, and a row a step over all shards that is not.

    Columns: `asset`; `partition`; `hours` since the oldest content was written that the step has not taken in, NULL where it has
    all of it; `by_settings`, whether it is settings or code alone that differ.

    Args:
        per_shard: as `stale_shards` takes them.
        whole: the steps over all shards.
    """
    stale = stale_shards(reader, per_shard, shards)
    rows = []
    for step, config in per_shard:
        if own := [shard for shard, asset in stale.items() if asset == step.asset]:
            hours, unsettled = _hours(reader, step, own), unsettled_shards(reader, step, config)
            rows += [(step.asset, shard, hours.get(shard), shard not in hours and shard not in unsettled) for shard in own]
    for step, config in whole:
        if not is_current(reader, step, config):
            waited = _hours(reader, step).get(UNPARTITIONED)
            rows.append((step.asset, UNPARTITIONED, waited, waited is None))
    return pl.DataFrame(rows, schema=WAITING, orient="row")


def _hours(reader: Reader, step: Step, shards: Collection[str] = ()) -> dict[str, float]:
    """Partition to the hours since the oldest table of those that it reads was written after its own; no others are in it."""
    own, read = quoted(step.table.name), ", ".join(map(quoted, step.reads))
    among = f"AND partition IN ({', '.join(map(quoted, shards))})" if shards else ""
    same = "USING (partition)" if step.table.partitioned else "ON true"
    place = "partition" if step.table.partitioned else quoted(UNPARTITIONED)
    rows = reader.sql(
        f"""WITH stamped AS (SELECT table_name, partition, written_at FROM {PARTITIONS} WHERE fingerprint IS NOT NULL {among})
        SELECT {place}, epoch(now() - min(content.written_at)) / 3600
        FROM (SELECT * FROM stamped WHERE table_name IN ({read})) content
        LEFT JOIN (SELECT partition, written_at FROM stamped WHERE table_name = {own}) own {same}
        WHERE own.written_at IS NULL OR content.written_at > own.written_at GROUP BY ALL"""
    )
    return dict(rows.iter_rows())
