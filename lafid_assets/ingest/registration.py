"""Taking the files of a folder in: which are new, which changed, and which shard holds them. Decided once, and kept.

Belongs here: listed files to `clip_files`, `clip_rows`, `clip_roots`. Not here: the listing (`listing`), contents (`raw_clips`),
Dagster's partitions (`partitions`).

A shard keeps its files for ever. A file that lies elsewhere now joins the shard that holds its like (same released id, or same
path and size below another root), so that its content is looked for where it is known.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from lafid_assets.ingest.sharding import into_shards
from lafid_assets.ingest.tombstones import Tombstones
from lafid_assets.schemas import CLIP_FILES, CLIP_ROOTS, CLIP_ROWS
from resources.lake import Lake
from resources.lake_writer import Writer

DEFAULT_CLIPS_PER_SHARD = 500
REGISTERED = "registered"
_STATE = ("size_bytes", "mtime_ns", "released_id", "in_table", "fault")
_SAID = tuple(column.name for column in CLIP_ROWS.columns if column.name not in ("shard", "clip_root", "path"))


@dataclass(frozen=True)
class Registered:
    """What registering a folder came to.

    Attributes:
        shards: all shards that hold files of the folder, sorted.
        new_shards: those of them that were made now.
        new, changed, retold: files that were not known, that lie there in another state, of which the tables say something new.
        elsewhere: of the new ones, files whose like is known below another folder.
    """

    shards: tuple[str, ...]
    new_shards: tuple[str, ...]
    new: int
    changed: int
    retold: int
    elsewhere: int


def register(lake: Lake, listed: pl.DataFrame, clips_per_shard: int = DEFAULT_CLIPS_PER_SHARD) -> Registered:
    """Put files that no shard holds into shards, and take up what has changed of the others. Nothing is written when nothing has.

    Of a forgotten clip only its pseudonym is taken up, so that it is still counted.

    Args:
        listed: rows as `listing.list_files` gives them, of one root.
    """
    files = Tombstones(lake.store).veil(_unique(listed))
    return lake.commit(lambda writer: _register(writer, files, clips_per_shard))


def _register(writer: Writer, files: pl.DataFrame, clips_per_shard: int) -> Registered:
    root = str(files["clip_root"][0])
    known = _known(writer, files)
    fresh = known.filter(pl.col("shard").is_null()).drop("shard", "changed", "retold")
    placed = _with_their_like(writer, fresh)
    apart = fresh.join(placed, on="path", how="anti")
    shards_before = writer.stamps([CLIP_FILES.name])
    sharded = into_shards(apart, clips_per_shard, len(shards_before))
    moved = known.filter(pl.col("changed") | pl.col("retold"))
    touched = pl.concat([moved.select("shard"), placed.select("shard")]).unique()["shard"].to_list()
    if sharded.height or touched:
        later = pl.concat([moved.drop("changed", "retold"), placed], how="diagonal")
        _write(writer, sharded, later, touched)
    if sharded.height or touched or not _was_seen_last(writer, root):
        _see(writer, root)
    held = {*known["shard"].drop_nulls(), *placed["shard"], *sharded["shard"]}
    return Registered(
        shards=tuple(sorted(held)),
        new_shards=tuple(sorted(set(sharded["shard"]))),
        new=fresh.height,
        changed=int(known["changed"].sum()),
        retold=int(known["retold"].sum()),
        elsewhere=placed.height,
    )


def _unique(listed: pl.DataFrame) -> pl.DataFrame:
    """One row a place; a row that names no file stands under its id."""
    named = listed.with_columns(path=pl.when(pl.col("path") != "").then("path").otherwise("released_id"))
    return named.unique(["clip_root", "path"], keep="first", maintain_order=True)


def _known(writer: Writer, files: pl.DataFrame) -> pl.DataFrame:
    """`files` with the shard that holds each (NULL: none), and whether its state or what is said of it has changed."""
    state, said = (" OR ".join(f"l.{name} IS DISTINCT FROM k.{name}" for name in names) for names in (_STATE, _SAID))
    return writer.sql(
        f"""
        SELECT l.*, f.shard, coalesce(f.changed, false) AS changed, coalesce(r.retold, false) AS retold
        FROM listed l
        LEFT JOIN (
            SELECT k.path, k.shard, {state} AS changed FROM clip_files k JOIN listed l USING (clip_root, path)
        ) f USING (path)
        LEFT JOIN (SELECT k.path, {said} AS retold FROM clip_rows k JOIN listed l USING (clip_root, path)) r USING (path)
        ORDER BY l.number
        """,
        listed=files.with_row_index("number"),
    ).drop("number")


def _with_their_like(writer: Writer, fresh: pl.DataFrame) -> pl.DataFrame:
    """Those of the new files whose like another root holds, with its shard."""
    if fresh.is_empty():
        return fresh.with_columns(shard=pl.lit(None, pl.String))
    return writer.sql(
        """
        SELECT l.*, coalesce(min(i.shard), min(p.shard)) AS shard
        FROM fresh l
        LEFT JOIN clip_files i ON i.released_id = l.released_id
        LEFT JOIN clip_files p ON p.path = l.path AND p.size_bytes = l.size_bytes
        GROUP BY ALL
        HAVING coalesce(min(i.shard), min(p.shard)) IS NOT NULL
        """,
        fresh=fresh,
    )


def _write(writer: Writer, sharded: pl.DataFrame, later: pl.DataFrame, touched: list[str]) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    frames = {}
    for table in (CLIP_FILES, CLIP_ROWS):
        before = writer.sql(f"SELECT * FROM {table.name} WHERE list_contains(?, shard)", [touched]) if touched else None
        rows = [frame.with_columns(seen_at=pl.lit(now)) for frame in (sharded, later) if frame.height]
        if before is not None:
            rows.append(before.join(later, on=["clip_root", "path"], how="anti"))
        frames[table.name] = table.frame(pl.concat([frame.select(list(table.dtypes)) for frame in rows]))
    writer.put(frames, dict.fromkeys([*set(sharded["shard"]), *touched], REGISTERED))


def _was_seen_last(writer: Writer, root: str) -> bool:
    newest = writer.sql(f"SELECT clip_root FROM {CLIP_ROOTS.name} ORDER BY seen_at DESC, clip_root LIMIT 1")
    return newest["clip_root"].to_list() == [root]


def _see(writer: Writer, root: str) -> None:
    """Note that the root was looked through last: of several files of a clip, its own is shown."""
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    others = writer.sql(f"SELECT * FROM {CLIP_ROOTS.name} WHERE clip_root != ?", [root])
    rows = CLIP_ROOTS.frame([*others.to_dicts(), {"clip_root": root, "seen_at": now}])
    writer.put({CLIP_ROOTS.name: rows}, {"all": REGISTERED})
