"""The hashes that name a base's files, kept beside them, for a base of 126 GB is not read anew to be told from another.

Belongs here: a component's hash, a base's, and the file that keeps them. Not here: what a base is (`base`).

`folder/digests.json` holds the sha256 of every component file under its size and its time of change (ns). A file of another size
or time is read again. Of several processes one computes and the others wait for it: the file is its own lock.
"""

import fcntl
import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from model.files import sha256_file, sha256_folder

COMPONENTS = "components"
"""Folder of the components, in that of the base."""
PARTS = ("image_encoder", "image_processor", "scheduler", "text_encoder", "tokenizer", "transformer", "transformer_2", "vae")
INFO_FILE = "base.json"
"""What names the base, in its folder."""
DIGESTS = "digests.json"
_SETTLED_NS = 2 * 10**9
"""A file that changed later than this before it was read might change again within one tick of the disk's clock: it is read
again the next time."""
_READERS = 8


def component_digests(folder: Path) -> dict[str, str]:
    """Component to the hex digest over its files, of those that the base in `folder` has."""
    parts, files = folder / COMPONENTS, file_digests(folder)
    return {
        name: sha256_folder(parts / name, digest_of=lambda path: files[path.relative_to(parts).as_posix()])
        for name in PARTS
        if (parts / name).is_dir()
    }


def base_digest(components: Mapping[str, str]) -> str:
    """Hex digest over all components, and over nothing that lies beside them."""
    digest = hashlib.sha256()
    for name, sha256 in components.items():
        digest.update(f"{name}\0{sha256}\n".encode())
    return digest.hexdigest()


def recorded_digest(folder: Path) -> str | None:
    """The base's digest as its `INFO_FILE` tells it; no component is looked at, no torch loaded. None: there is no base."""
    path = folder / INFO_FILE
    return str(json.loads(path.read_text())["sha256"]) if path.is_file() else None


def file_digests(folder: Path) -> dict[str, str]:
    """Every file of the components, by its path below them, to its sha256."""
    parts = folder / COMPONENTS
    with _kept(folder / DIGESTS) as stream:
        known, now_ns = _read(stream), time.time_ns()
        stamps = {path: _stamp(path) for name in PARTS for path in sorted((parts / name).rglob("*")) if path.is_file()}
        names = {path: path.relative_to(parts).as_posix() for path in stamps}
        kept = {names[path]: known[names[path]] for path in stamps if known.get(names[path], [])[:2] == stamps[path]}
        stale = [path for path in stamps if names[path] not in kept]
        with ThreadPoolExecutor(_READERS) as readers:
            for path, sha256 in zip(stale, readers.map(sha256_file, stale), strict=True):
                kept[names[path]] = [*stamps[path], sha256]
        if stream is not None:
            settled = {name: entry for name, entry in sorted(kept.items()) if int(entry[1]) < now_ns - _SETTLED_NS}
            if settled != known:
                with suppress(OSError):  # on a full disk they are computed anew the next time
                    stream.seek(0)
                    stream.truncate()
                    stream.write(json.dumps(settled, indent=1).encode())
    return {name: str(sha256) for name, (_, _, sha256) in kept.items()}


@contextmanager
def _kept(path: Path) -> Iterator[IO[bytes] | None]:
    """The file that keeps digests, for one process at a time; None where none can be written beside the base, or it cannot be
    locked, as on some clusters' file systems."""
    with ExitStack() as held:
        stream = None
        with suppress(OSError):
            opened = held.enter_context(path.open("ab+", buffering=0))
            fcntl.flock(opened, fcntl.LOCK_EX)
            stream = opened
        yield stream


def _read(stream: IO[bytes] | None) -> dict[str, list[int | str]]:
    """Nothing where a process was killed over it."""
    if stream is None:
        return {}
    stream.seek(0)
    try:
        return dict(json.load(stream))
    except ValueError:
        return {}


def _stamp(path: Path) -> list[int | str]:
    told = path.stat()
    return [told.st_size, told.st_mtime_ns]
