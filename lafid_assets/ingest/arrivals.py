"""Files of a folder that have arrived whole: as they were at the look before. Each settles by itself.

Belongs here: comparing two looks, and waiting for company. Not here: the listing (`listing`), taking files in (`registration`),
when to look (`sensors.clip_drop`).

A file's own time says nothing: cameras live in other years, and an upload may pause for longer than any patience. A file that two
looks find equal may still be half of an upload that pauses; when the rest comes it is another file, and its clip is curated anew.
"""

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import polars as pl

from lafid_assets.ingest.folder_walk import walk
from lafid_assets.ingest.listing import list_files
from lafid_assets.ingest.openhumanvid import CLIPS, TABLE_PATTERN, read_table
from lafid_assets.ingest.provenance import SourceUnusable
from model.files import whole_file

_STATE = {"path": pl.String, "size_bytes": pl.Int64, "mtime_ns": pl.Int64}
_LOOK = {**_STATE, "first_seen_s": pl.Float64}


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


def look(root: Path, looks: Path, known: Collection[str], company: Company, now_s: float) -> Arrivals:
    """Look at the folder, and keep what was seen for the next look.

    While a table is still changing or cannot be used, files that no other table names wait for it, and keep what it said.

    Args:
        looks: the file that keeps it.
        known: paths below `root` that a shard holds.
        now_s: seconds since 1970.

    Raises:
        SourceUnusable: as `list_files`.
    """
    before = _last_look(looks)
    table_states = _states_of_tables(root)
    usable, faults = _usable(root, _settled(table_states, before))
    if table_states.height and not usable:
        files = _states(walk(root, lambda name: True, {CLIPS})).join(table_states, on="path", how="anti")
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


def _usable(root: Path, settled: pl.DataFrame) -> tuple[list[Path], tuple[str, ...]]:
    usable, faults = [], []
    for name in settled["path"]:
        try:
            read_table(root / name)
        except SourceUnusable as error:
            faults.append(str(error))
        else:
            usable.append(root / name)
    return usable, tuple(faults)


def _last_look(looks: Path) -> pl.DataFrame:
    """What the last look kept; nothing where that is no whole file of this form: everything settles anew."""
    try:
        before = pl.read_parquet(looks)
    except (pl.exceptions.PolarsError, OSError):
        return pl.DataFrame(schema=_LOOK)
    return before if before.schema == _LOOK else pl.DataFrame(schema=_LOOK)


def _states_of_tables(root: Path) -> pl.DataFrame:
    states = []
    for path in sorted(root.glob(TABLE_PATTERN)):
        with suppress(OSError):  # it went, or is a link to nowhere
            states.append((path.name, (state := path.stat()).st_size, state.st_mtime_ns))
    return pl.DataFrame(states, schema=_STATE, orient="row")


def _states(listed: pl.DataFrame) -> pl.DataFrame:
    return listed.filter(pl.col("size_bytes").is_not_null()).select(list(_STATE)).unique("path")


def _settled(states: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """The files that are as they were."""
    return states.join(before.select(list(_STATE)), on=list(_STATE), how="semi", nulls_equal=True)


def _keep(looks: Path, before: pl.DataFrame, states: pl.DataFrame, now_s: float) -> None:
    if before.select(list(_STATE)).sort("path").equals(states.sort("path")):
        return
    seen = states.join(before.select("path", "first_seen_s"), on="path", how="left")
    with whole_file(looks) as temporary:
        seen.with_columns(pl.col("first_seen_s").fill_null(now_s)).sort("path").write_parquet(temporary)
