"""Benches that hold a forgotten person or clip. A bench without one of its persons is another bench: it goes as a whole.

Belongs here: which folders of the store these are. Not here: removing them (`erase`), the table (`tables`).
"""

import json
from collections.abc import Iterator
from typing import Any

from lafid_assets.dataset.forget.subject import Subject
from lafid_assets.release.bench_folder import FOLDER
from model.evaluation.bench import BENCH_FILE
from resources.store.file_store import FileStore


def benches_with(store: FileStore, subject: Subject) -> list[str]:
    """Folders of benches in the store that show one of the clips or name one of the persons; and of those that were never
    finished, of which nobody knows whom they show."""
    folders = sorted({"/".join(path.split("/")[:2]) for path in store.list_tree(FOLDER)})
    return [folder for folder in folders if _holds(store, folder, subject)]


def _holds(store: FileStore, folder: str, subject: Subject) -> bool:
    path = f"{folder}/{BENCH_FILE}"
    if not store.exists(path):
        return True
    text = store.read_bytes(path).decode(errors="replace")
    if any(needle in text for needle in subject.needles):
        return True
    try:
        told = set(_texts(json.loads(text)))
    except json.JSONDecodeError:
        return True
    return not told.isdisjoint((*subject.clip_ids, *subject.names))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)
