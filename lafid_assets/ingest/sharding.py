"""Which new files make which shard, and what the shard is called. Values in, values out: nothing is read or written here.

Belongs here: the division and the names. Not here: who is new, and taking shards into the store (`shards`).
"""

import hashlib
import json

import polars as pl


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
