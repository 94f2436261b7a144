"""Files and folders that appear whole or not at all, and their digests.

Belongs here: what every part of the model half that writes to a local disk shares. Not here: any format.
"""

import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path


class FolderTaken(FileExistsError):
    """There is something where a folder would be written; the message says what to do."""


def sha256_file(path: Path) -> str:
    """Hex digest of one file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_folder(folder: Path, only: Collection[str] | None = None, digest_of: Callable[[Path], str] = sha256_file) -> str:
    """Hex digest over the names (relative, sorted) and bytes of all files below `folder`.

    Args:
        only: names in the folder that count, with all below them; None: all.
        digest_of: gives a file's `sha256_file`, where it is known already.
    """
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if only is not None and path.relative_to(folder).parts[0] not in only:
            continue
        digest.update(f"{path.relative_to(folder).as_posix()}\0{digest_of(path)}\n".encode())
    return digest.hexdigest()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a path beside `path` to write to; it takes `path`'s place when the block ends well, and vanishes otherwise.

    The temporary name keeps the suffix, from which writers tell the format.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex}{path.suffix}")
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync(path.parent)


def write_whole(path: Path, content: bytes | str) -> None:
    """`path` with this content, or as it was; text in UTF-8."""
    with whole_file(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Like `whole_file`, for a folder that must not exist yet."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    temporary.mkdir()
    try:
        yield temporary
        for path in (*temporary.rglob("*"), temporary):
            _sync(path)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _sync(folder.parent)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """No other process is inside a block of the same file, which is made where it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def require_free(folder: Path) -> None:
    """Passes where a folder can be written.

    Raises:
        FolderTaken: there is something in it.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FolderTaken(f"{folder} is there already: name a folder that is not, or an empty one")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
