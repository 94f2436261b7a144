"""Which clip is in which shard: decided once, written down, never changed.

Belongs here: manifests (a row a clip) and registering clips that are new. Not here: Dagster's partitions (`partitions`).
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from resources.shard_store import ShardStore

MANIFEST_TABLE = "shard_manifest"
DEFAULT_CLIPS_PER_SHARD = 500


def register_new_clips(store: ShardStore, clips: pl.DataFrame, clips_per_shard: int, lock_path: Path) -> list[str]:
    """Put clips that no shard holds yet into new shards.

    Args:
        clips: rows as `openhumanvid.list_clips` gives them.
        lock_path: a local file; two registrations never run at once.

    Returns:
        names of the new shards, empty when every clip is known.
    """
    with _locked(lock_path):
        shards = store.partitions(MANIFEST_TABLE)
        known = [store.read_table(MANIFEST_TABLE, shard).select("clip_id") for shard in shards]
        new = clips.join(pl.concat(known), on="clip_id", how="anti") if known else clips
        names: list[str] = []
        for offset in range(0, new.height, clips_per_shard):
            name = f"shard-{len(shards) + len(names):05d}"
            members = new.slice(offset, clips_per_shard).with_columns(shard=pl.lit(name))
            store.write_group({MANIFEST_TABLE: members}, name, fingerprint=name)
            names.append(name)
    return names


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
