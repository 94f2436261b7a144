"""Which clip is in which shard: decided once, written down, never changed.

Belongs here: manifests (a row a clip) and registering clips. Not here: Dagster's partitions (`partitions`).
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from lafid_assets.ingest.tombstones import Tombstones
from resources.shard_store import ShardStore

MANIFEST_TABLE = "shard_manifest"
DEFAULT_CLIPS_PER_SHARD = 500


def register_clips(store: ShardStore, clips: pl.DataFrame, clips_per_shard: int, lock_path: Path) -> list[str]:
    """Put clips that no shard holds yet into new shards, and take up what the tables now say of clips that one holds.

    A table may arrive after its files: a clip first seen without a row gets it then. Who is in which shard never changes.
    Of a forgotten clip only its pseudonym is taken up, so that it is still counted.

    Args:
        clips: rows as `openhumanvid.list_clips` gives them.
        lock_path: a local file; two registrations never run at once.

    Returns:
        names of the shards that are new or say something new, empty when everything is known.
    """
    with _locked(lock_path):
        clips = Tombstones(store).veil(clips)
        known = {shard: store.read_table(MANIFEST_TABLE, shard) for shard in store.partitions(MANIFEST_TABLE)}
        changed = {shard: _with_later_rows(members, clips) for shard, members in known.items()}
        changed = {shard: members for shard, members in changed.items() if not members.equals(known[shard])}
        held = [members.select("clip_id") for members in known.values()]
        new = clips.join(pl.concat(held), on="clip_id", how="anti") if held else clips
        for offset in range(0, new.height, clips_per_shard):
            name = f"shard-{len(known) + offset // clips_per_shard:05d}"
            changed[name] = new.slice(offset, clips_per_shard).with_columns(shard=pl.lit(name))
        for name, members in changed.items():
            store.write_group({MANIFEST_TABLE: members}, name, fingerprint=name)
    return sorted(changed)


def _with_later_rows(members: pl.DataFrame, clips: pl.DataFrame) -> pl.DataFrame:
    """The members of a shard, with the rows that a table of the same folder now has for them."""
    place = ["clip_id", "clip_root"]
    later = members.select(*place, "shard").join(clips.filter("in_table"), on=place)
    return pl.concat([members.join(later, on=place, how="anti"), later.select(members.columns)]).sort("clip_id")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
