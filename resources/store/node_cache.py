"""A node's copies of what a remote store holds: bounded, and nothing goes that a process of this node uses.

Belongs here: where copies lie, who uses them, making room. Not here: bringing them there and back (`file_store`).

    <folder>/copies/<path>    files at the store's own paths, with their objects' times
    <folder>/used/<unit>      locked by every process that uses the unit; its time is that of the last one to begin
    <folder>/coming/          files on their way to the store

A unit comes and goes as one: it is named by the first two parts of a path, such as one base, one training or all latents. A lock
ends with its process, however that ends.
"""

import fcntl
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import psutil

from model.files import locked

BOUND = "LAFID_CACHE_GB"
MOST_GB = 200.0
"""Unless `BOUND` says otherwise."""


class CacheFull(OSError):
    """The copies that this node's processes use leave no room for more; the message names the remedy."""


class CacheBoundUnusable(ValueError):
    """`LAFID_CACHE_GB` is no number of gigabytes."""


class StoreCache:
    """The copies of one store. `folder`: of this store alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._locks: dict[str, int] = {}

    def place(self, path: str) -> Path:
        """Where the copy of `path` lies, or would; that of a unit, and what is in it, is kept until this process ends."""
        if len(PurePosixPath(path).parts) > 1:
            self._hold(_unit(path))
        return self.folder / "copies" / path

    @contextmanager
    def filling(self, path: str) -> Iterator[Path]:
        """The same place of a unit or of something in it, and no other process brings anything of that unit here meanwhile."""
        place = self.place(path)
        with locked(self.folder / "used" / f"{_unit(path)}.filling"):
            yield place

    def make_room(self, size_bytes: int, what: str) -> None:
        """Remove units that no process uses, those first that have not been used for longest, until so much more fits.

        Raises:
            CacheFull: it does not, beside what is in use.
            CacheBoundUnusable: the bound is no number.
        """
        most = _bound_gb() * 1e9
        held = _size_bytes(self.folder / "copies")
        units = [path for path in (self.folder / "used").iterdir() if path.suffix != ".filling"]
        for unit in sorted(units, key=lambda path: path.stat().st_mtime_ns):
            if held + size_bytes <= most:
                return
            held -= self._remove_unused(unit)
        if held + size_bytes > most:
            raise CacheFull(
                f"{what} takes {size_bytes / 1e9:.1f} GB here, where {self.folder} holds {held / 1e9:.1f} GB that are in use and "
                f"may hold {most / 1e9:.1f}: raise {BOUND}"
            )

    @contextmanager
    def coming(self, path: str) -> Iterator[Path]:
        """A file to write to, which is gone after the block; its name keeps the suffix, from which writers tell the format."""
        name = PurePosixPath(path).name
        self._remove_left_by_kills()
        folder = self.folder / "coming" / f"{os.getpid()}-{os.urandom(4).hex()}"
        folder.mkdir(parents=True)
        try:
            yield folder / name
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _hold(self, unit: str) -> None:
        if unit in self._locks:
            return
        path = self.folder / "used" / unit
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(lock, fcntl.LOCK_SH)
        os.utime(lock)
        self._locks[unit] = lock

    def _remove_unused(self, unit: Path) -> int:
        """Remove a unit's copies unless a process uses them; the bytes that this frees."""
        lock = os.open(unit, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        else:
            copies = self.folder / "copies" / unit.name.replace("+", "/")
            freed = _size_bytes(copies)
            if copies.is_dir():
                shutil.rmtree(copies)
            else:
                copies.unlink(missing_ok=True)
            return freed
        finally:
            os.close(lock)

    def _remove_left_by_kills(self) -> None:
        for left in (self.folder / "coming").glob("*-*"):
            if not psutil.pid_exists(int(left.name.partition("-")[0])):
                shutil.rmtree(left, ignore_errors=True)


def _unit(path: str) -> str:
    return "+".join(PurePosixPath(path).parts[:2])


def _size_bytes(place: Path) -> int:
    files = place.rglob("*") if place.is_dir() else [place]
    return sum(path.stat().st_size for path in files if path.is_file())


def _bound_gb() -> float:
    told = os.environ.get(BOUND) or str(MOST_GB)
    try:
        found = float(told)
    except ValueError:
        found = math.nan
    if not found > 0:
        raise CacheBoundUnusable(f"{BOUND} is {told!r}: set it to the gigabytes that copies of the store may take on this node")
    return found
