"""Files of a folder, or objects of a prefix, that have arrived whole: as they were at the look before. Each settles by itself.

Belongs here: comparing two looks, and waiting for company. Not here: the listing (`listing`), taking files in (`registration`),
when to look (`sensors.clip_drop`).

A file's own time says nothing: cameras live in other years, and an upload may pause for longer than any patience. A file that two
looks find equal may still be half of an upload that pauses; when the rest comes it is another file, and its clip is curated anew.
"""

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import polars as pl

from lafid_assets.ingest.clip_root import STATE, ClipRoot
from lafid_assets.ingest.listing import list_files
from lafid_assets.ingest.openhumanvid import CLIPS, read_table
from lafid_assets.ingest.provenance import SourceUnusable
from model.files import whole_file

_LOOK = {**STATE, "first_seen_s": pl.Float64}


class Company(NamedTuple):
    """For how many others new clips wait before they become a shard, and for how long at most."""

    least_clips: int
    longest_wait_s: float


class Arrivals(NamedTuple):
    """One look at the folder.

    Attributes:
        listed: what can be taken in now, as `listing.list_files` gives it.
        settling: files that were not so at the look before.
        waiting: new clips that wait for company.
        faults: of tables that cannot be used, a sentence each; their rows are left out, those of others not.
    """

    listed: pl.DataFrame
    settling: int
    waiting: int
    faults: tuple[str, ...]


def look(root: ClipRoot, looks: Path, known: Collection[str], company: Company, now_s: float) -> Arrivals:
    """Look at the place, and keep what was seen for the next look.

    While a table is still changing or cannot be used, files that no other table names wait for it, and keep what it said.

    Args:
        looks: the file that keeps it.
        known: paths below `root` that a shard holds.
        now_s: seconds since 1970.

    Raises:
        SourceUnusable, BucketAway: as `list_files`.
    """
    before = _last_look(looks)
    table_states = root.tables()
    usable, faults = _usable(root, _settled(table_states, before))
    if table_states.height and not usable:
        files = _states(root.files(lambda name: True, {CLIPS})).join(table_states, on="path", how="anti")
        _keep(looks, before, pl.concat([table_states, files]), now_s)
        return Arrivals(pl.DataFrame(), table_states.height - len(faults), 0, faults)
    listed = list_files(root, usable)
    states = pl.concat([table_states, _states(listed)])
    if len(usable) < table_states.height:
        listed = listed.filter("in_table")
    _keep(looks, before, states, now_s)
    with_file = pl.col("size_bytes").is_not_null()
    settled = _settled(_states(listed), before)
    arrived = listed.filter(~with_file | pl.col("path").is_in(settled["path"].implode()))
    new = settled.filter(~pl.col("path").is_in(list(known)))
    first_seen_s = new.join(before.select("path", "first_seen_s"), on="path")["first_seen_s"].min()
    waits = 0 < new.height < company.least_clips and now_s - float(str(first_seen_s)) < company.longest_wait_s
    if waits:
        arrived = arrived.filter(~pl.col("path").is_in(new["path"].implode()))
    settling = states.height - _settled(states, before).height
    return Arrivals(arrived, settling, new.height if waits else 0, faults)


def _usable(root: ClipRoot, settled: pl.DataFrame) -> tuple[list[str], tuple[str, ...]]:
    usable, faults = [], []
    for name in settled["path"]:
        try:
            read_table(root, name)
        except SourceUnusable as error:
            faults.append(str(error))
        else:
            usable.append(name)
    return usable, tuple(faults)


def _last_look(looks: Path) -> pl.DataFrame:
    """What the last look kept; nothing where that is no whole file of this form: everything settles anew."""
    try:
        before = pl.read_parquet(looks)
    except (pl.exceptions.PolarsError, OSError):
        return pl.DataFrame(schema=_LOOK)
    return before if before.schema == _LOOK else pl.DataFrame(schema=_LOOK)


def _states(listed: pl.DataFrame) -> pl.DataFrame:
    return listed.filter(pl.col("size_bytes").is_not_null()).select(list(STATE)).unique("path")


def _settled(states: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """The files that are as they were."""
    return states.join(before.select(list(STATE)), on=list(STATE), how="semi", nulls_equal=True)


def _keep(looks: Path, before: pl.DataFrame, states: pl.DataFrame, now_s: float) -> None:
    if before.select(list(STATE)).sort("path").equals(states.sort("path")):
        return
    seen = states.join(before.select("path", "first_seen_s"), on="path", how="left")
    with whole_file(looks) as temporary:
        seen.with_columns(pl.col("first_seen_s").fill_null(now_s)).sort("path").write_parquet(temporary)
