"""How long has new content waited for the tables that are made of it?

Belongs here: waiting content -> judgement. Not here: finding it (`waiting`), Dagster's own clock of an asset, which runs while
nothing comes, too (`overdue_hours` of `bounds`).

A table that nothing new waits for is fresh, however old it is. What changed settings would decide anew is no new content:
`settings_differ` counts it.
"""

from collections.abc import Iterable

import polars as pl

from lafid_assets.checks.bounds import CheckBounds
from lafid_assets.checks.judged import Judged


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
