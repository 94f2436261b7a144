"""Taking out of the cache what nothing names any more: on request alone.

Belongs here: which parts are still named. Not here: the shards' files (`model.clips.latent_shards`), whose parts
must go (`dataset.forget`).
"""

from collections.abc import Collection
from contextlib import suppress

import polars as pl

from lafid_assets.schemas import TRAINING_LATENTS
from lafid_assets.training.encoding import FOLDER, SHARDS_FOLDER
from resources.lake.lake import Lake
from resources.lake.reader import TableMissing
from resources.store.file_store import FileStore


def sweep(lake: Lake, *, dry_run: bool = False) -> dict[str, int]:
    """Remove cached parts that no row of `training_latents` names, of earlier presets, encoders and captions; all clip lists,
    which whoever trains writes anew; and what kills left half written.

    A training that was interrupted and reads an earlier dataset cannot go on afterwards.

    Returns:
        file below the store to the bytes that this frees there.

    Raises:
        TableMissing: `training_latents` was never materialized, so that nothing is known to be needed.
    """
    store = lake.store
    freed = _drop(store, _keys(lake.read(TRAINING_LATENTS.name, columns=["parts"])), dry_run)
    for path, size in _lists(store).items():
        freed[path] = size
        if not dry_run:
            store.remove(path)
    return freed


def drop_unnamed(lake: Lake, without: Collection[str], *, dry_run: bool = False) -> dict[str, int]:
    """Remove cached parts that neither `training_latents` nor any clip list names for another clip than those of `without`.

    Which parts of earlier presets and captions were theirs nobody knows any more: what no list names may be theirs, and goes.

    Returns:
        file below the store to the bytes that this frees there.
    """
    store, columns = lake.store, ["clip_id", "parts"]
    tables = [pl.read_parquet(store.read_bytes(path), columns=columns) for path in _lists(store)]
    with suppress(TableMissing):
        tables.append(lake.read(TRAINING_LATENTS.name, columns=columns))
    named = {key for rows in tables for key in _keys(rows.filter(~pl.col("clip_id").is_in(list(without))))}
    return _drop(store, named, dry_run)


def _drop(store: FileStore, named: set[str], dry_run: bool) -> dict[str, int]:
    if not store.sizes(SHARDS_FOLDER):
        return {}
    from model.clips.latent_shards import drop_parts

    return drop_parts(store, SHARDS_FOLDER, lambda key: key not in named, dry_run=dry_run)


def _keys(rows: pl.DataFrame) -> set[str]:
    return set(rows["parts"].explode().struct.field("key").drop_nulls()) if rows.height else set()


def _lists(store: FileStore) -> dict[str, int]:
    """Clip lists in the store, path to bytes."""
    names = [name for name in store.list_files(FOLDER) if name.endswith(".parquet")]
    return {f"{FOLDER}/{name}": store.size(f"{FOLDER}/{name}") for name in names}
