"""What is not current, and why: new content that waits, and since when, or other settings; and when that is worth a look.

Belongs here: `staleness` with the times at which tables were written, and judging them. Not here: what is current (`staleness`),
Dagster's own clock of an asset, which runs while nothing comes, too (`overdue_hours` of `bounds`), refusing a dataset of shards
under different settings (`dataset.refusals`).

A table that nothing new waits for is fresh, however old it is. What changed settings would decide anew is no new content.
"""

from collections.abc import Collection, Iterable, Sequence

import polars as pl

from lafid_assets.checks.bounds import CheckBounds
from lafid_assets.checks.judged import Judged
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


def freshness(waits: pl.DataFrame, assets: Iterable[str], bounds: CheckBounds) -> Judged:
    """How long the oldest content has waited, asset by asset; 0 where none waits.

    Args:
        waits: as `waiting.what_waits` gives it.
        assets: all that were asked about.
    """
    longest = dict(waits.drop_nulls("hours").group_by("asset").agg(pl.col("hours").max()).iter_rows())
    hours = {asset: longest.get(asset, 0.0) for asset in assets}
    late = [
        f"{asset} for {waited:.0f} h"
        for asset, waited in hours.items()
        if waited > bounds.longest_wait_hours_of.get(asset, bounds.longest_wait_hours)
    ]
    told = f"new content waits too long: {', '.join(late)}" if late else "no new content waits for longer than it may"
    return Judged(not late, told, {f"hours_{asset}_waits": waited for asset, waited in hours.items()})


_SHOWN = 3


def settings_differ(lines: Sequence[str], mixed: Sequence[str], waits: pl.DataFrame) -> Judged:
    """The dataset's settings, and those of all shards, against the file's.

    Args:
        lines: which the file says otherwise than the dataset's run was told, as `settings_check.differing` gives them.
        mixed: the tables whose shards are under several settings, as `mixed_settings.mixed` gives them.
        waits: as `waiting.what_waits` gives it.
    """
    otherwise = waits.filter("by_settings").height
    told = [f"lafid.toml says otherwise than the dataset was made by: {_listed(lines)}"] if lines else []
    told += [f"the shards stand under different settings: {_listed(mixed)}"] if mixed else []
    told += [f"{otherwise} tables would be decided otherwise now: `lafid settings diff` counts them"] if otherwise else []
    figures = {"lines_that_differ": len(lines), "tables_of_mixed_settings": len(mixed), "decided_otherwise": otherwise}
    return Judged(not told, "; ".join(told) or "all tables are decided by what lafid.toml says", figures)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
