"""The store's files that are no tables, local or remote: crops, latents, reports, checkpoints, half-done shards.

Belongs here: writing whole files or none, reading them back, as bytes or as files on this machine. Not here: tables (`lake`),
what a file means (its step), how much a node keeps of a remote store (`node_cache`).

Code that needs real files (memory-mapped latents, checkpoints) works at `here`: `fetch` brings what the store has, `put` brings
back what was made. In a local store that is the store itself, and nothing is copied. A copy has its object's size and time, by
which the next `fetch` and `put` tell what has changed.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple, cast

import pyarrow as pa
import pyarrow.fs as pafs

from model.files import whole_file, write_whole
from model.model_store.location import lafid_home
from resources.store.node_cache import CacheFull, StoreCache
from resources.transient_errors import Transient

CACHE = "cache"
"""Folder of the home."""
_TRANSFERS = 8
_CHUNK_BYTES = 32 << 20


class StoreUnusable(OSError):
    """A file of the store cannot be read or written; the message names it and the remedy."""


class ObjectReplaced(Transient, OSError):
    """An object changed under the hands of whoever read it."""


class FileStore:
    """Files below one root, at paths that their steps choose.

    Args:
        uri: a local path, or `s3://bucket/prefix` (credentials and endpoint as pyarrow reads them, `AWS_ENDPOINT_URL` included).
        home: whose `CACHE` holds the copies of a remote store; `LAFID_HOME` unless given.
    """

    def __init__(self, uri: str, home: Path | None = None) -> None:
        self.uri = uri.rstrip("/")
        self.is_local = "://" not in uri
        self._cache: StoreCache | None = None
        if self.is_local:
            self._fs: pafs.FileSystem = pafs.LocalFileSystem()
            self._root = str(Path(uri).absolute())
        else:
            self._fs, self._root = _remote_filesystem(self.uri)
            self._cache = StoreCache((home or lafid_home()) / CACHE / hashlib.sha256(self.uri.encode()).hexdigest()[:16])

    def full_path(self, path: str) -> str:
        """`path` below the root, in the file system's own spelling."""
        return f"{self._root}/{path}"

    def address(self, path: str) -> str:
        """The same for people: a path, or `s3://...`."""
        return self.full_path(path) if self.is_local else f"{self.uri}/{path}"

    def here(self, path: str) -> Path:
        """Where `path` lies on this machine, or would: in the store itself, or where `fetch` and `put` have its copy."""
        return Path(self.full_path(path)) if self._cache is None else self._cache.place(path)

    def fetch(self, path: str, only: Collection[str] | None = None, without: Collection[str] = ()) -> Path:
        """What the store has at `path`, as files on this machine: at `here`. What is not in the store is not there either.

        Args:
            path: of a file, or of a folder with all that it holds.
            only: files below the folder that are asked for; None: all.
            without: names of files that stay as they are here.

        Raises:
            StoreUnusable: a file cannot be read, or there is no room for it.
        """
        if self._cache is None:
            return self.here(path)
        with self._telling(f"cannot fetch {self.uri}/{path}"), self._cache.filling(path) as here:
            asked = None if only is None else {f"{path}/{name}" for name in only}
            found = {name: info for name, info in self._objects(path).items() if asked is None or name in asked}
            lacking = {
                name: info
                for name, info in found.items()
                if PurePosixPath(name).name not in without and not _is_copy(self.here(name), info)
            }
            self._cache.make_room(sum(info.size for info in lacking.values()), f"{self.uri}/{path}")
            with ThreadPoolExecutor(_TRANSFERS) as pool:
                list(pool.map(self._download, lacking))
        return here

    def put(self, path: str, without: Collection[str] = ()) -> None:
        """Bring what lies `here` at `path` into the store, where that differs. JSON files come last: they say what a folder is.

        Half-written files, whose names begin with a dot, stay where they are; the store keeps what is not here.

        Args:
            path: of a file, or of a folder with all that it holds.
            without: names of files that stay here.

        Raises:
            StoreUnusable: a file cannot be written.
        """
        if self._cache is None:
            return
        there, here, root = self._objects(path), self.here(path), self.here("")
        files = [here] if here.is_file() else sorted(file for file in here.rglob("*") if file.is_file())
        names = {file.relative_to(root).as_posix(): file for file in files if file.name not in without}
        whole = {name: file for name, file in names.items() if not any(part.startswith(".") for part in name.split("/"))}
        changed = [name for name, file in whole.items() if name not in there or not _is_copy(file, there[name])]
        last = [name for name in changed if name.endswith(".json")]
        with ThreadPoolExecutor(_TRANSFERS) as pool:
            list(pool.map(self._upload_copy, [name for name in changed if name not in last]))
        for name in last:
            self._upload_copy(name)

    @contextmanager
    def writing(self, path: str) -> Iterator[Path]:
        """A path to write a file to; it takes its place in the store, whole, when the block ends well. No copy stays here.

        Raises:
            StoreUnusable: it cannot be written.
        """
        if self._cache is None:
            with whole_file(Path(self.full_path(path))) as temporary:
                yield temporary
            return
        with self._cache.coming(path) as temporary:
            yield temporary
            self._upload(temporary, path)

    @contextmanager
    def opened(self, path: str) -> Iterator[IO[bytes]]:
        """A file to read parts of; of a remote one no more is fetched.

        Raises:
            StoreUnusable: there is none, or it cannot be read.
        """
        with self._telling(f"cannot read {self.uri}/{path}"), self._fs.open_input_file(self.full_path(path)) as handle:
            yield cast("IO[bytes]", handle)

    def local_path(self, path: str) -> Path:
        """`path` of a store that must be local, such as that of a catalog in a file.

        Raises:
            StoreUnusable: the store is remote.
        """
        if not self.is_local:
            raise StoreUnusable(f"{path} is needed as a local file, but the store is {self.uri}: set LAFID_STORE to a local path")
        return Path(self.full_path(path))

    def exists(self, path: str) -> bool:
        """Whether there is a file at `path`."""
        return self._fs.get_file_info(self.full_path(path)).type == pafs.FileType.File

    def size(self, path: str) -> int:
        """Bytes of one file."""
        return int(self._fs.get_file_info(self.full_path(path)).size)

    def read_bytes(self, path: str) -> bytes:
        """The whole file.

        Raises:
            StoreUnusable: there is none, or it cannot be read.
        """
        with self.opened(path) as handle:
            return bytes(handle.read())

    def write_bytes(self, path: str, content: bytes) -> None:
        """Write a file whole or not at all: locally by fsync and rename, remotely by the object store's own atomic put.

        Raises:
            StoreUnusable: it cannot be written.
        """
        target = self.full_path(path)
        try:
            if self.is_local:
                write_whole(Path(target), content)
            else:
                with self._fs.open_output_stream(target) as handle:
                    handle.write(content)
        except OSError as error:
            raise StoreUnusable(
                f"cannot write {self.uri}/{path} ({error.strerror or error}): free some space or make it writable"
            ) from error

    def refuse_unwritable(self) -> None:
        """See that files can be written, without writing one: of a local store by the folder's rights, remotely by an upload that
        is begun and dropped.

        Raises:
            StoreUnusable: they cannot, or the store does not answer.
        """
        try:
            if self.is_local:
                folder = next(folder for folder in (Path(self._root), *Path(self._root).parents) if folder.exists())
                if not os.access(folder, os.W_OK | os.X_OK):
                    raise PermissionError(f"{folder} may not be written")
            else:
                _begin_and_drop_upload(self._root)
        except OSError as error:
            raise StoreUnusable(
                f"cannot write into the store {self.uri} ({error}): make it writable, or set LAFID_STORE to one that is"
            ) from error

    def list_files(self, folder: str) -> list[str]:
        """Names of the files directly in `folder`, sorted; empty when there is no such folder."""
        selector = pafs.FileSelector(self.full_path(folder), allow_not_found=True)
        return sorted(
            info.base_name
            for info in self._fs.get_file_info(selector)
            if info.type == pafs.FileType.File and not info.base_name.startswith(".")
        )

    def list_tree(self, folder: str) -> list[str]:
        """Paths of all files below `folder`, relative to the root, sorted; empty when there is no such folder."""
        return sorted(self._infos(folder))

    def sizes(self, folder: str) -> dict[str, int]:
        """The same paths to the files' sizes in bytes."""
        return {path: info.size for path, info in self._infos(folder).items()}

    def ages(self, folder: str) -> dict[str, float]:
        """The same paths to the seconds since each file was written."""
        return {path: time.time() - info.mtime_ns / 1e9 for path, info in self._infos(folder).items()}

    def _infos(self, folder: str) -> dict[str, pafs.FileInfo]:
        """Facts about all files below a folder, by path."""
        with self._telling(f"cannot list {self.uri}/{folder}"):
            selector = pafs.FileSelector(self.full_path(folder), allow_not_found=True, recursive=True)
            found = self._fs.get_file_info(selector)
        return {info.path.removeprefix(f"{self._root}/"): info for info in found if info.type == pafs.FileType.File}

    def _objects(self, path: str) -> dict[str, pafs.FileInfo]:
        """Facts about a remote store's files below `path`, or the one at it."""
        below = self._infos(path)
        info = None if below else self._fs.get_file_info(self.full_path(path))
        return below if info is None or info.type != pafs.FileType.File else {path: info}

    def _download(self, path: str) -> None:
        """Whole, and one version of it: an object may be replaced while it is read."""
        full = self.full_path(path)
        before = self._fs.get_file_info(full)
        with whole_file(self.here(path)) as temporary:
            with self._fs.open_input_file(full) as source, temporary.open("wb") as target:
                shutil.copyfileobj(source, target, _CHUNK_BYTES)
            after = self._fs.get_file_info(full)
            if _state(before) != _state(after) or temporary.stat().st_size != after.size:
                raise ObjectReplaced("it was replaced while it was fetched: try again")
            os.utime(temporary, (_state(after).mtime_s,) * 2)

    def _upload_copy(self, path: str) -> None:
        self._upload(copy := self.here(path), path)
        os.utime(copy, (_state(self._fs.get_file_info(self.full_path(path))).mtime_s,) * 2)

    def _upload(self, source: Path, path: str) -> None:
        """An object appears when all of it is there; a process that is killed on the way leaves the one before."""
        with (
            self._telling(f"cannot write {self.uri}/{path}", "free some space or make it writable"),
            pa.memory_map(str(source)) as content,
            self._fs.open_output_stream(self.full_path(path)) as target,
        ):
            # At once: whoever is interrupted between two writes closes half an object, which S3 then takes for a whole one.
            target.write(content.read_buffer())

    @contextmanager
    def _telling(self, what: str, remedy: str = "") -> Iterator[None]:
        try:
            yield
        except (StoreUnusable, CacheFull):
            raise
        except OSError as error:
            raise StoreUnusable(f"{what} ({error.strerror or error})" + (f": {remedy}" if remedy else "")) from error

    def remove(self, path: str) -> None:
        """Remove a file, or a folder with all that it holds; nothing happens when there is none."""
        kind = self._fs.get_file_info(self.full_path(path)).type
        if kind == pafs.FileType.Directory:
            self._fs.delete_dir(self.full_path(path))
        elif kind == pafs.FileType.File:
            self._fs.delete_file(self.full_path(path))


def _is_copy(file: Path, info: pafs.FileInfo) -> bool:
    try:
        state = file.stat()
    except FileNotFoundError:
        return False
    return (state.st_size, state.st_mtime_ns) == (info.size, _state(info).mtime_s * 10**9)


class _State(NamedTuple):
    """What tells two versions of an object apart. `mtime_s`: whole seconds: S3 tells no more in some of its answers."""

    size_bytes: int
    mtime_s: int


def _state(info: pafs.FileInfo) -> _State:
    return _State(info.size, info.mtime_ns // 10**9)


def _begin_and_drop_upload(root: str) -> None:
    """
    Raises:
        OSError: the bucket is not there, the credentials may not write, or nothing answers.
    """
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, prefix = root.partition("/")
    place = {"Bucket": bucket, "Key": "/".join(filter(None, [prefix, ".lafid-writable"]))}
    try:
        client = boto3.client("s3", config=Config(connect_timeout=10, read_timeout=20, retries={"max_attempts": 3}))
        client.abort_multipart_upload(**place, UploadId=client.create_multipart_upload(**place)["UploadId"])
    except (BotoCoreError, ClientError) as error:
        raise OSError(" ".join(str(error).split())) from error


def _remote_filesystem(uri: str) -> tuple[pafs.FileSystem, str]:
    scheme, _, path = uri.partition("://")
    if scheme != "s3":
        raise StoreUnusable(f"the store {uri} is neither a local path nor s3://: set LAFID_STORE to one of them")
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    # Background writes would hold all of a large file in memory. With delayed opening a small file is one request, and three
    # otherwise; one that cannot be written is told of when it is closed.
    return pafs.S3FileSystem(endpoint_override=endpoint, background_writes=False, allow_delayed_open=True), path
