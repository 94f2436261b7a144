"""Clips of one shard encoded, and the list that training would read of them, without a lake."""

from pathlib import Path

import polars as pl

from lafid_assets.training.cached_clips import write_list
from lafid_assets.training.latents import encode_shard, load_encoding
from model.presets import Preset
from resources.store.file_store import FileStore

SHARD = "shard-00000"


def encode_clips(dataset: pl.DataFrame, faces: pl.DataFrame, chosen: Preset, base_dir: Path, store: FileStore) -> pl.DataFrame:
    """Rows of `training_latents` of clips of one shard, their encoders loaded anew."""
    return encode_shard(SHARD, dataset, faces, load_encoding(chosen, base_dir), store)


def list_of(latents: pl.DataFrame, dataset: pl.DataFrame, store: FileStore) -> Path:
    """The list that training would read, without a lake."""
    mask = pl.col("references").list.first().struct
    known = ("clip_id", "dataset_version", "refined_caption", "identity_id", "engine", "engine_version")
    asked = dataset.select(*known, mask=mask.field("mask"), mask_sha256=mask.field("mask_sha256"))
    return write_list(latents.join(asked, on=["clip_id", "dataset_version"]), store)
