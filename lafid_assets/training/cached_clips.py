"""The dataset's clips as they are cached, over all shards: what training and evaluation read.

Belongs here: whether every clip of the dataset is there, and the list that training reads. Not here: a shard's rows (`latents`),
the list's file format (`model.clips.clip_list`).

A list holds nothing that the tables do not say: whoever trains writes it, and it can be written again at any time.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from lafid_assets.outcomes import Status
from lafid_assets.schemas import LAFID_DATASET, TRAINING_LATENTS
from lafid_assets.training.encoding import FOLDER, SHARDS_FOLDER
from model.clip_size import Bucket
from model.clips.clip_list import ClipEntry, ClipMeta, Place, write_clip_list
from model.presets import Preset
from model.wording import first_few
from resources.lake.reader import Reader
from resources.store.file_store import FileStore

_ASKED = (
    "clip_id, shard, dataset_version, refined_caption, identity_id, engine, engine_version, "
    '"references"[1].mask AS mask, "references"[1].mask_sha256 AS mask_sha256'
)
"""What a list says of a clip beside what `training_latents` knows."""
_NAMED = 5
"""Most shards that a message names."""


class NotPrecomputed(ValueError):
    """Clips of the dataset have not been through `training_latents`, or for another preset; the message names the shards and the
    command."""


def read_cached(reader: Reader, chosen: Preset) -> pl.DataFrame:
    """Rows of `training_latents` of all clips of the dataset, with what else the list says of them. What shards hold of an
    earlier dataset is passed over.

    Args:
        chosen: for which they are read: of its sizes and rate are all of them, though shards can be precomputed one by one.

    Raises:
        NotPrecomputed: clips of the dataset have no row of this version, or one of another preset's sizes.
        TableMissing: one of the tables was never materialized.
    """
    asked = reader.sql(f"SELECT {_ASKED} FROM {LAFID_DATASET.name}")
    latents = reader.read(TRAINING_LATENTS.name) if asked.height else TRAINING_LATENTS.frame([])
    key = ["clip_id", "dataset_version"]
    lacking = asked.join(latents, on=key, how="anti")
    if lacking.height:
        raise NotPrecomputed(
            f"{lacking.height} of {asked.height} clips of the dataset are not precomputed, those of {_named(lacking)}: run "
            f"`lafid precompute --preset {chosen.name}`, or materialize training_latents for these shards"
        )
    cached = latents.join(asked.drop("shard"), on=key).sort("clip_id")
    _require_sizes(cached, chosen)
    return cached


def write_list(cached: pl.DataFrame, store: FileStore, splits: Collection[str] | None = None) -> Path:
    """The list of the clips that can be read, named after what training reads of them; beside the shards, which are on this
    machine then.

    Args:
        cached: as `read_cached` gives them.
        splits: whose shards are read; None: all.

    Raises:
        ValueError: the dataset is empty.
    """
    if cached.is_empty():
        raise ValueError("the dataset has no clips to train on: curate more, or loosen the policies before it")
    entries = [_entry(row) for row in cached.filter(pl.col("status") == Status.OK).iter_rows(named=True)]
    read = {place.shard for entry in entries if splits is None or entry.split in splits for place in entry.parts.values()}
    store.fetch(SHARDS_FOLDER, only=read)
    name = f"{FOLDER}/clips-{_digest(entries)}.parquet"
    write_clip_list(store.here(name), entries)
    store.put(name)
    return store.here(name)


def _require_sizes(cached: pl.DataFrame, chosen: Preset) -> None:
    sizes = pl.DataFrame(chosen.clip.buckets, schema=dict.fromkeys(Bucket._fields, pl.Int32), orient="row")
    other = cached.filter(pl.col("status") == Status.OK).join(
        sizes.with_columns(fps=pl.lit(chosen.clip.fps)), on=[*Bucket._fields, "fps"], how="anti"
    )
    if other.height:
        raise NotPrecomputed(
            f"{other.height} of {cached.height} clips are precomputed for sizes that preset {chosen.name} does not have, those "
            f"of {_named(other)}: run `lafid precompute --preset {chosen.name}`"
        )


def _named(clips: pl.DataFrame) -> str:
    return first_few(sorted(clips["shard"].unique()), _NAMED)


def _entry(row: Mapping[str, Any]) -> ClipEntry:
    meta = ClipMeta(
        clip_id=row["clip_id"],
        caption=row["refined_caption"] or "",
        bucket=Bucket(*(row[name] for name in Bucket._fields)),
        fps=row["fps"],
        identity_id=row["identity_id"],
        face_engine=row["engine"],
        face_engine_version=row["engine_version"],
        base_sha256=row["base_sha256"],
        encoders_fingerprint=row["encoders_fingerprint"],
        mask=row["mask"],
        mask_sha256=row["mask_sha256"],
    )
    return ClipEntry(
        meta, row["split"], {one["part"]: Place(one["key"], one["shard"]) for one in row["parts"]}, row["angles_deg"]
    )


def _digest(entries: Sequence[ClipEntry]) -> str:
    """Over what training reads, wherever it lies: the same clips make the same list."""
    facts = [
        [
            entry.meta.model_dump(mode="json"),
            entry.split,
            entry.angles_deg,
            sorted((part, place.key) for part, place in entry.parts.items()),
        ]
        for entry in entries
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
