"""Runs of training in a remote store: what is whole there comes to the node that goes on, and what a node makes is put there.

Belongs here: the `Keeper` that `model.training.train` takes. Not here: a store's copies on a node (`resources.store.file_store`),
when a state is saved (`model.training.state_writer`).
"""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from resources.store.file_store import FileStore, StoreUnusable

LOGGER = logging.getLogger("lafid.training")
_WHOLE_BY = ("lafid.json", "state.json")
"""The file that comes last into the folder of a checkpoint or a state."""
_ONE = ("checkpoint", "checkpoint_ema")
"""Folders of one checkpoint, in that of the run."""
_MANY = ("state", "checkpoints", "checkpoints_ema")
"""Folders that hold one a step."""


@dataclass
class KeptRuns:
    """Runs that are kept in one store.

    Attributes:
        seen: paths in the store that this process has brought here or put there, and may remove when they go here. What another
            process has put there since is not this one's to remove.
    """

    store: FileStore
    seen: set[str] = field(default_factory=set)
    _lock: Lock = field(default_factory=Lock)

    def fetch(self, run_dir: Path) -> None:
        """Brings here what the store has of a run: of states and checkpoints only those that are whole there.

        Raises:
            StoreUnusable: the store cannot be read.
        """
        path = self._path(run_dir)
        there = self.store.list_tree(path)
        whole = {name.rpartition("/")[0] for name in there if name.endswith(tuple(f"/{last}" for last in _WHOLE_BY))}
        torn = {folder for name in there if (folder := _unit_of(name)) is not None and folder not in whole}
        self.store.fetch(path, only=[name.removeprefix(f"{path}/") for name in there if _unit_of(name) not in torn])
        self.seen |= set(there)

    def keep(self, folder: Path) -> None:
        """Puts what lies in a folder of a run into the store, and removes there what has gone here. A store that is away ends no
        training."""
        path, root = self._path(folder), self.store.here("")
        try:
            self.store.put(path)
            here = {file.relative_to(root).as_posix() for file in folder.rglob("[!.]*") if file.is_file()}
            with self._lock:
                before = {name for name in self.seen if name.startswith(f"{path}/")}
            # First what says that a folder is whole: without it, nobody takes up the rest.
            for name in sorted(before - here, key=lambda name: not name.endswith(".json")):
                self.store.remove(name)
            with self._lock:
                self.seen = (self.seen - before) | here
        except StoreUnusable as error:
            LOGGER.warning("%s is not kept beyond this machine yet: %s; it is tried again", folder, error)

    def _path(self, run_dir: Path) -> str:
        return run_dir.relative_to(self.store.here("")).as_posix()


def _unit_of(path: str) -> str | None:
    """The folder of the state or checkpoint that a file of a run is part of; None: it is part of none."""
    parts = path.split("/")
    depth = 3 if parts[2] in _ONE else 4 if parts[2] in _MANY else len(parts)
    return "/".join(parts[:depth]) if depth < len(parts) else None
