"""Where a preset's base model lies.

Belongs here: preset -> folder in the store. A tiny base has no public address: it is built once and travels with its models.
"""

import errno
from pathlib import Path

from model.presets import preset
from resources.file_store import FileStore

FOLDER = "bases"


def base_path(preset_name: str) -> str:
    """Path of the folder in the store of a preset's base; presets on the same base share it."""
    return f"{FOLDER}/{preset(preset_name).base.name}"


def base_folder(preset_name: str, store: FileStore) -> Path:
    """The base's folder on disk; a tiny one is built when it is not there yet.

    Raises:
        BaseError: a real one is not there; the message says how it gets there.
    """
    from model.bases.build import ensure_base

    folder = store.local_path(base_path(preset_name))
    try:
        ensure_base(preset(preset_name).base, folder)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # another process has built the same one meanwhile
            raise
    return folder
