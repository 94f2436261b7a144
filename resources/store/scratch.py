"""Files of elsewhere on this machine while they are needed: one folder, at most so many bytes, shared by all processes here.

Belongs here: fetching a file once, holding it, making room. Not here: the requests (`s3_objects`), whose turn it is
(`lafid_assets.ingest.clip_prefetch`).

    scratch/<address>-<state>/<name>    a fetched file, in a folder that is named by hashes of its address and its state
    scratch/.alone                      how many bytes are free; whoever makes room locks it

Who needs a file holds a shared `flock` on its folder, who fetches or removes it an exclusive one: a process that dies holds
nothing any more, and what it left behind is half a file under another name, which the next one removes.
"""

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TextIO

from model.encoding.footage import RemoteFile
from model.files import whole_file
from resources.store import s3_objects
from resources.store.s3_objects import NotWanted, ObjectUnreadable

SECONDS_BETWEEN_LOOKS = 0.1
MOST_NAME_BYTES = 100
SECONDS_BETWEEN_SEARCHES = 0.5
SPARE_SHARE = 0.05
"""Share of the folder that is made free at once."""
MOST_NOTED_S = 600.0
"""How long what was free is believed."""
MOST_IDLE_S = 24 * 3600.0
"""A file that nobody asked for so long goes, whether there is room or not."""


def object_below(
    folder: Path, address: str, size_bytes: int | None = None, etag: str | None = None, content_sha256: str | None = None
) -> RemoteFile:
    """An object, and where in the folder it will lie."""
    state = _digits(etag or content_sha256 or "", 16)
    path = folder / f"{_digits(address, 32)}-{state}" / _name(address)
    return RemoteFile(address, path, size_bytes, etag, content_sha256)


def places_in(folder: Path) -> list[Path]:
    """The folders of all files that are here."""
    return sorted(folder.glob("*-*"))


def remove_place(place: Path) -> bool:
    """Whether a file's folder is gone; it stays while somebody holds it."""
    try:
        descriptor = os.open(place, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        if not _lock(descriptor, fcntl.LOCK_EX) or not _is(place, descriptor):
            return False
        shutil.rmtree(place)
    finally:
        os.close(descriptor)
    return True


@dataclass(frozen=True)
class Held:
    """A file that stays as long as this is held."""

    file: RemoteFile
    descriptor: int


class Scratch:
    """The folder.

    Args:
        folder: on a disk of this machine.
        most_bytes: that it may take.
    """

    def __init__(self, folder: Path, most_bytes: float) -> None:
        self._folder, self._most_bytes = folder, most_bytes

    def hold(self, file: RemoteFile, is_wanted: Callable[[], bool] = lambda: True) -> Held:
        """Have a file here, and keep it until `release`. Whoever holds others waits for room with what they hold.

        Raises:
            ObjectUnreadable, BucketAway: as `s3_objects.fetch`; the former also for a file that is larger than the whole folder.
            NotWanted: `is_wanted` says so, on the way.
        """
        place = file.path.parent
        while True:
            if not is_wanted():
                raise NotWanted(file.address)
            place.mkdir(parents=True, exist_ok=True)
            try:
                descriptor = os.open(place, os.O_RDONLY)
            except FileNotFoundError:  # somebody removed it in between
                continue
            try:
                if self._is_held(file, descriptor, is_wanted):
                    os.utime(place)
                    return Held(file, descriptor)
            except BaseException:
                _remove_if_empty(place, descriptor)
                os.close(descriptor)
                raise
            os.close(descriptor)
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def _is_held(self, file: RemoteFile, descriptor: int, is_wanted: Callable[[], bool]) -> bool:
        """Whether the file is here, fetched by us where it was not, and its folder locked; False while others work on it."""
        if not file.path.is_file():
            if not _lock(descriptor, fcntl.LOCK_EX) or not _is(file.path.parent, descriptor):
                return False
            if not file.path.is_file():
                self._fetch(file, is_wanted)
        # A lock that changes its kind is let go of for a moment: what was there may be gone.
        return _lock(descriptor, fcntl.LOCK_SH) and _is(file.path.parent, descriptor) and file.path.is_file()

    def release(self, held: Held, *, keep: bool) -> None:
        """Let go of a file. `keep`: it will be asked for again; else it is removed, unless somebody else holds it."""
        if keep:
            os.utime(held.descriptor)
        os.close(held.descriptor)
        if not keep:
            self.drop(held.file)

    @contextmanager
    def holding(self, file: RemoteFile, *, keep: bool = False) -> Iterator[Path]:
        """The file, for as long as the block takes.

        Raises:
            ObjectUnreadable, BucketAway: as `hold`.
        """
        held = self.hold(file)
        try:
            yield file.path
        finally:
            self.release(held, keep=keep)

    def drop(self, file: RemoteFile) -> None:
        """Remove a file that nobody holds; nothing happens otherwise."""
        remove_place(file.path.parent)

    def _fetch(self, file: RemoteFile, is_wanted: Callable[[], bool]) -> None:
        """Bring it here; the caller has its folder alone."""
        for rest in file.path.parent.iterdir():  # of a process that died on the way
            rest.unlink()
        size_bytes = s3_objects.size_of(file.address) if file.size_bytes is None else file.size_bytes
        with whole_file(file.path) as temporary:
            self._make_room(size_bytes, temporary, file.address, is_wanted)
            s3_objects.fetch(file.address, temporary, file.etag, file.content_sha256, is_wanted)

    def _make_room(self, size_bytes: int, temporary: Path, address: str, is_wanted: Callable[[], bool]) -> None:
        """Take up the file's bytes before they are here, so that several fetches do not fill one gap; the oldest go first."""
        if size_bytes > self._most_bytes:
            raise ObjectUnreadable(
                f"{address} has {size_bytes / 1e9:.2f} GB, and fetched files may take {self._most_bytes / 1e9:.2f}: "
                "raise scratch_gb in [sources]"
            )
        while not self._take(size_bytes, temporary):
            if not is_wanted():
                raise NotWanted(address)
            time.sleep(SECONDS_BETWEEN_SEARCHES)

    def _take(self, size_bytes: int, temporary: Path) -> bool:
        """Whether there was room for the file, which it takes up now.

        What is free is noted in `.alone`, so that not every fetch looks through the folder; a look finds what went since then.
        """
        with (self._folder / ".alone").open("a+") as note:
            fcntl.flock(note, fcntl.LOCK_EX)
            free_bytes, looked_s = self._noted(note)
            if free_bytes < size_bytes:
                free_bytes, looked_s = self._free(size_bytes), time.time()
            is_taken = free_bytes >= size_bytes
            if is_taken:
                with temporary.open("wb") as file:
                    os.posix_fallocate(file.fileno(), 0, max(size_bytes, 1))
                free_bytes -= size_bytes
            note.truncate(0)
            note.write(f"{free_bytes} {looked_s} {self._most_bytes}")
        return is_taken

    def _noted(self, note: TextIO) -> tuple[int, float]:
        """Bytes that are free, and when that was looked for; none where nobody looked lately, or for another folder size."""
        note.seek(0)
        told = note.read().split()
        if len(told) != len(("free", "looked", "most")) or float(told[2]) != self._most_bytes:
            return 0, 0.0
        return (int(told[0]) if time.time() - float(told[1]) < MOST_NOTED_S else 0), float(told[1])

    def _free(self, wanted_bytes: int) -> int:
        """Bytes that are free, after the oldest files made room where it was wanted, and a little more."""
        places = sorted(self._places(), key=lambda place: place.used_s)
        free_bytes = int(self._most_bytes) - sum(place.size_bytes for place in places)
        wanted_bytes += int(SPARE_SHARE * self._most_bytes) * (free_bytes < wanted_bytes)
        for place in places:
            if free_bytes >= wanted_bytes and time.time() - place.used_s < MOST_IDLE_S:
                break
            if remove_place(place.path):
                free_bytes += place.size_bytes
        return free_bytes

    def _places(self) -> Iterator["_Place"]:
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    with suppress(FileNotFoundError), os.scandir(entry) as files:
                        yield _Place(Path(entry.path), entry.stat().st_mtime, sum(file.stat().st_size for file in files))


@dataclass(frozen=True)
class _Place:
    path: Path
    used_s: float
    size_bytes: int


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is(place: Path, descriptor: int) -> bool:
    """Whether the folder that was opened still bears this name: it may have been removed, and made anew."""
    try:
        there = os.stat(place)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(descriptor))


def _remove_if_empty(place: Path, descriptor: int) -> None:
    if _is(place, descriptor):
        with suppress(OSError):
            place.rmdir()


def _name(address: str) -> str:
    """What a person and a container's suffix are known by, as every disk can hold it."""
    name = PurePosixPath(address.rpartition("/")[2])
    stem = name.stem.encode()[: MOST_NAME_BYTES - len(name.suffix.encode())].decode(errors="ignore")
    plain = f"{stem}{name.suffix}" if len(name.suffix) < MOST_NAME_BYTES // 2 else _digits(str(name), 32)
    return plain.replace("\0", "_").lstrip(".") or "object"


def _digits(text: str, count: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:count]
