"""Where a preset's base model lies.

Belongs here: preset -> folder in the store. A tiny base has no public address: it is built once and travels with its models.
"""

import errno
from collections.abc import Callable
from pathlib import Path

from model.bases.digests import DIGESTS, INFO_FILE, recorded_digest
from model.presets import preset
from resources.store.file_store import FileStore

FOLDER = "bases"


def base_path(preset_name: str) -> str:
    """Path of the folder in the store of a preset's base; presets on the same base share it."""
    return f"{FOLDER}/{preset(preset_name).base.name}"


def base_folder(preset_name: str, store: FileStore) -> Path:
    """The base's folder on this machine; a tiny one is built when it is not there yet.

    Raises:
        BaseError: a real one is not there; the message says how it gets there.
    """
    from model.bases.build import ensure_base

    path = base_path(preset_name)
    folder = fetch_base(path, store)
    if recorded_digest(folder) is not None:
        ensure_base(preset(preset_name).base, folder)
        return folder
    try:
        ensure_base(preset(preset_name).base, folder)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # another process has built the same one meanwhile
            raise
    put_base(path, store)
    return folder


def fetch_base(path: str, store: FileStore) -> Path:
    """Where a base lies on this machine, with what the store holds of it. Each machine keeps digests of its own files."""
    return store.fetch(path, without=(DIGESTS,)) if store.exists(f"{path}/{INFO_FILE}") else store.here(path)


def adopted_in(store: FileStore) -> Callable[[str], Path]:
    """Where the store's base of a name lies on this machine, or would."""
    return lambda name: fetch_base(f"{FOLDER}/{name}", store)


def put_base(path: str, store: FileStore) -> None:
    """What this machine has of a base, in the store."""
    store.put(path, without=(DIGESTS,))
