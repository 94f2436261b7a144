"""Taking the files of a folder in: which are new, which changed, and which shard holds them. Decided once, and kept.

Belongs here: listed files to `clip_files`, `clip_rows`, `clip_roots`; the division into shards, and their names. Not here: the
listing (`listing`), contents (`raw_clips`), Dagster's partitions (`partitions`).

A shard keeps its files for ever. A file that lies elsewhere now joins the shard that holds its like (same released id, or same
path and size below another root), so that its content is looked for where it is known.
"""

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from lafid_assets.ingest.tombstones import Tombstones
from lafid_assets.schemas import CLIP_FILES, CLIP_ROOTS, CLIP_ROWS
from model.wording import first_few
from resources.lake.lake import Lake
from resources.lake.writer import Writer

LOGGER = logging.getLogger("lafid.ingest")
DEFAULT_CLIPS_PER_SHARD = 500
SHARDS_AT_ONCE = 100
REGISTERED = "registered"
TABLES = (CLIP_FILES, CLIP_ROWS)
_STATE = ("size_bytes", "mtime_ns", "etag", "released_id", "in_table", "fault")
_SAID = tuple(column.name for column in CLIP_ROWS.columns if column.name not in ("shard", "clip_root", "path"))


@dataclass(frozen=True)
class Registered:
    """What registering a folder came to.

    Attributes:
        shards: all shards that hold files of the folder, sorted.
        new_shards: those of them that were made now.
        altered_shards: those of them that were there, and hold something else now.
        new, changed, retold: files that were not known, that lie there in another state, of which the tables say something new.
        elsewhere: of the new ones, files whose like is known below another folder.
    """

    shards: tuple[str, ...]
    new_shards: tuple[str, ...]
    altered_shards: tuple[str, ...]
    new: int
    changed: int
    retold: int
    elsewhere: int

    def __str__(self) -> str:
        """One line for a person."""
        counts = {
            "new": self.new - self.elsewhere,
            "known from another folder": self.elsewhere,
            "changed": self.changed,
            "with something new in their table": self.retold,
        }
        told = ", ".join(f"{count} {what}" for what, count in counts.items() if count) or "nothing new"
        return f"files: {told}; {len(self.shards)} shards, {len(self.new_shards)} of them new"


def register(lake: Lake, listed: pl.DataFrame, clips_per_shard: int = DEFAULT_CLIPS_PER_SHARD) -> Registered:
    """Put files that no shard holds into shards, and take up what has changed of the others. Nothing is written when nothing has.

    Of a forgotten clip only its pseudonym is taken up, so that it is still counted. To be called at work in the store
    (`Leases.at_work`), or a clip could be forgotten meanwhile.

    Args:
        listed: rows as `listing.list_files` gives them, of one root.
    """
    files = _unique(listed)

    def change(writer: Writer) -> Registered:
        # Read in the transaction: what is forgotten before it begins does not come back.
        hidden = Tombstones(lake.store).hide_forgotten(files)
        return _register(writer, hidden.with_row_index("number"), clips_per_shard)

    return lake.commit(change, all_cores=True)


def _register(writer: Writer, files: pl.DataFrame, clips_per_shard: int) -> Registered:
    root = str(files["clip_root"][0])
    known = _known(writer, files, root)
    fresh = files.filter(~pl.col("number").is_in(known["number"].implode()))
    like = _with_their_like(writer, fresh, root)
    altered = known.filter(pl.col("changed") | pl.col("retold"))
    later = files.join(pl.concat([altered.select("number", "shard", "changed"), like]), on="number")
    sharded = into_shards(
        fresh.filter(~pl.col("number").is_in(like["number"].implode())), clips_per_shard, len(writer.stamps([CLIP_FILES.name]))
    )
    _write(writer, sharded, later)
    if sharded.height or later.height or not _was_seen_last(writer, root):
        _see(writer, root)
    new_shards = sharded["shard"].unique().to_list()
    return Registered(
        shards=tuple(sorted({*known["shard"].unique(), *like["shard"].unique(), *new_shards})),
        new_shards=tuple(sorted(new_shards)),
        altered_shards=tuple(sorted(later["shard"].unique())),
        new=fresh.height,
        changed=int(known["changed"].sum()),
        retold=int(known["retold"].sum()),
        elsewhere=like.height,
    )


def _unique(listed: pl.DataFrame) -> pl.DataFrame:
    """One row a place; a row that names no file stands under its id. Of several rows of one file the first counts, and
    the others are told: whatever is said of a file, nobody could tell which of them a clip is."""
    named = listed.with_columns(path=pl.when(pl.col("path") != "").then("path").otherwise("released_id"))
    again = named.filter(~pl.struct("clip_root", "path").is_first_distinct())
    if again.height:
        rows = first_few(f"{row['released_id']} of {row['path']}" for row in again.iter_rows(named=True))
        LOGGER.warning("%d rows name a file that a row before them names, and are left out: %s", again.height, rows)
    return named.unique(["clip_root", "path"], keep="first", maintain_order=True)


def _known(writer: Writer, files: pl.DataFrame, root: str) -> pl.DataFrame:
    """`number` and shard of the files that some shard holds, whether their state has changed, and what is said of them."""
    state, said = (" OR ".join(f"l.{name} IS DISTINCT FROM k.{name}" for name in names) for names in (_STATE, _SAID))
    return writer.sql(
        f"""
        SELECT f.number, f.shard, f.changed, r.retold
        FROM (SELECT l.number, k.shard, {state} AS changed FROM clip_files k JOIN listed l USING (path) WHERE k.clip_root = ?) f
        JOIN (
            SELECT l.number, {said} AS retold FROM clip_rows k JOIN listed l USING (path) WHERE k.clip_root = ?
        ) r USING (number)
        """,
        [root, root],
        listed=files,
    )


def _with_their_like(writer: Writer, fresh: pl.DataFrame, root: str) -> pl.DataFrame:
    """`number` of the new files whose like another root holds, and its shard; `changed`, since they are new there."""
    return writer.sql(
        """
        WITH others AS (SELECT shard, path, size_bytes, released_id FROM clip_files WHERE clip_root != ?)
        SELECT number, min(shard) AS shard, true AS changed FROM (
            SELECT number, o.shard FROM fresh JOIN others o USING (released_id)
            UNION ALL
            SELECT number, o.shard FROM fresh JOIN others o USING (path, size_bytes) WHERE fresh.released_id IS NULL
        ) GROUP BY number
        """,
        [root],
        fresh=fresh.select("number", "path", "size_bytes", "released_id"),
    )


def _write(writer: Writer, sharded: pl.DataFrame, later: pl.DataFrame) -> None:
    """New shards whole, and the altered files of others in the place of what stood there; a block of shards at a time."""
    seen_at = datetime.now(UTC).isoformat(timespec="seconds")
    for block in _blocks(sharded):
        rows = block.with_columns(seen_at=pl.lit(seen_at))
        writer.put({table.name: table.frame(rows.select(list(table.dtypes))) for table in TABLES}, _registered(block))
    for block in _blocks(later.sort("shard")):
        rows, shards = block.with_columns(seen_at=pl.lit(seen_at)), _registered(block)
        frames = {}
        for table in TABLES:
            # A file that is as it was is no other for what is said of it.
            new = (rows.filter("changed") if table is CLIP_FILES else rows).select(list(table.dtypes))
            before = writer.sql(f"SELECT * FROM {table.name} WHERE list_contains(?, shard)", [list(shards)])
            untouched = before.join(new, on=["clip_root", "path"], how="anti").select(list(table.dtypes))
            frames[table.name] = table.frame(pl.concat([new, untouched]))
        writer.put(frames, shards)


def _blocks(files: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Files of some shards at a time, so that memory does not grow with the folder."""
    shards = files["shard"].unique(maintain_order=True)
    for start in range(0, len(shards), SHARDS_AT_ONCE):
        yield files.filter(pl.col("shard").is_in(shards.slice(start, SHARDS_AT_ONCE).implode()))


def _registered(block: pl.DataFrame) -> dict[str, str]:
    return dict.fromkeys(block["shard"].unique(maintain_order=True), REGISTERED)


def _was_seen_last(writer: Writer, root: str) -> bool:
    newest = writer.sql(f"SELECT clip_root FROM {CLIP_ROOTS.name} ORDER BY seen_at DESC, clip_root LIMIT 1")
    return newest["clip_root"].to_list() == [root]


def _see(writer: Writer, root: str) -> None:
    """Note that the root was looked through last: of several files of a clip, its own is shown."""
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    others = writer.sql(f"SELECT * FROM {CLIP_ROOTS.name} WHERE clip_root != ?", [root])
    rows = CLIP_ROOTS.frame([*others.to_dicts(), {"clip_root": root, "seen_at": now}])
    writer.put({CLIP_ROOTS.name: rows}, {"all": REGISTERED})


def into_shards(files: pl.DataFrame, files_per_shard: int, known_shards: int) -> pl.DataFrame:
    """New files, in their order, with the name of their shard in the column `shard`.

    Args:
        files: rows as `listing.list_files` gives them, those alone that no shard holds.
        files_per_shard: the last shard may have fewer.
        known_shards: how many shards there are; numbers go on from there.

    Raises:
        ValueError: `files_per_shard` is less than 1.
    """
    if files_per_shard < 1:
        raise ValueError(f"a shard holds at least one file, not {files_per_shard}")
    starts = range(0, files.height, files_per_shard)
    names = [shard_name(known_shards + i, files.slice(start, files_per_shard)) for i, start in enumerate(starts)]
    number = pl.int_range(files.height) // files_per_shard
    return files.with_columns(shard=pl.lit(pl.Series(names, dtype=pl.String)).gather(number))


def shard_name(number: int, members: pl.DataFrame) -> str:
    """`shard-<number>-<8 hex digits of its members>`, whatever their order.

    The same members have the same name on every machine, and two machines that give one number to different members do not
    give them one name. Rows without file count by their released id, too: several may have no path at all.
    """
    place = sorted(members.select("clip_root", "path", pl.col("released_id").fill_null("")).rows())
    return f"shard-{number:05d}-{hashlib.sha256(json.dumps(place).encode()).hexdigest()[:8]}"
