"""Where a preset's base model lies.

Belongs here: preset -> folder in the store. The tiny base has no public address: it is built once and travels with its models.
"""

from pathlib import Path

from resources.shard_store import ShardStore

FOLDER = "bases"


def base_path(preset_name: str) -> str:
    """Path of the base's folder in the store."""
    return f"{FOLDER}/{preset_name}"


def base_folder(preset_name: str, store: ShardStore) -> Path:
    """The base's folder on disk, built when it is not there yet."""
    from model.base import build_tiny_base

    folder = store.local_path(base_path(preset_name))
    build_tiny_base(folder)
    return folder
