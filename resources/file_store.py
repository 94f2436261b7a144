"""The store's files that are no tables, local or remote: crops, latents, reports, checkpoints, half-done shards.

Belongs here: writing whole files or none, reading them back. Not here: tables (`lake`), what a file means (its step).
"""

import os
import time
from pathlib import Path

import pyarrow.fs as pafs

from model.files import whole_file


class StoreUnusable(OSError):
    """A file of the store cannot be read or written; the message names it and the remedy."""


class FileStore:
    """Files below one root, at paths that their steps choose.

    Args:
        uri: a local path, or `s3://bucket/prefix` (credentials and endpoint as pyarrow reads them, `AWS_ENDPOINT_URL` included).
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        self.is_local = "://" not in uri
        if self.is_local:
            self._fs: pafs.FileSystem = pafs.LocalFileSystem()
            self._root = str(Path(uri).absolute())
        else:
            self._fs, self._root = _remote_filesystem(self.uri)

    def full_path(self, path: str) -> str:
        """`path` below the root, in the file system's own spelling."""
        return f"{self._root}/{path}"

    def local_path(self, path: str) -> Path:
        """The same for code that needs a real file (memory-mapped latents, checkpoints).

        Raises:
            StoreUnusable: the store is remote.
        """
        if not self.is_local:
            raise StoreUnusable(f"{path} is needed as a local file, but the store is {self.uri}: set LAFID_STORE to a local path")
        return Path(self.full_path(path))

    def exists(self, path: str) -> bool:
        """Whether there is a file at `path`."""
        return self._fs.get_file_info(self.full_path(path)).type == pafs.FileType.File

    def read_bytes(self, path: str) -> bytes:
        """The whole file.

        Raises:
            StoreUnusable: there is none, or it cannot be read.
        """
        try:
            with self._fs.open_input_file(self.full_path(path)) as handle:
                return bytes(handle.read())
        except OSError as error:
            raise StoreUnusable(f"cannot read {self.uri}/{path}: {error}") from error

    def write_bytes(self, path: str, content: bytes) -> None:
        """Write a file whole or not at all: locally by fsync and rename, remotely by the object store's own atomic put.

        Raises:
            StoreUnusable: it cannot be written.
        """
        target = self.full_path(path)
        try:
            if self.is_local:
                with whole_file(Path(target)) as temporary:
                    temporary.write_bytes(content)
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
        selector = pafs.FileSelector(self.full_path(folder), allow_not_found=True, recursive=True)
        found = self._fs.get_file_info(selector)
        return sorted(info.path.removeprefix(f"{self._root}/") for info in found if info.type == pafs.FileType.File)

    def ages(self, folder: str) -> dict[str, float]:
        """The same paths to the seconds since each file was written."""
        selector = pafs.FileSelector(self.full_path(folder), allow_not_found=True, recursive=True)
        found = [info for info in self._fs.get_file_info(selector) if info.type == pafs.FileType.File]
        return {info.path.removeprefix(f"{self._root}/"): time.time() - info.mtime_ns / 1e9 for info in found}

    def remove(self, path: str) -> None:
        """Remove a file, or a folder with all that it holds; nothing happens when there is none."""
        kind = self._fs.get_file_info(self.full_path(path)).type
        if kind == pafs.FileType.Directory:
            self._fs.delete_dir(self.full_path(path))
        elif kind == pafs.FileType.File:
            self._fs.delete_file(self.full_path(path))


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
    # A small file is one request then, and three otherwise; one that cannot be written is told of when it is closed.
    return pafs.S3FileSystem(endpoint_override=endpoint, allow_delayed_open=True), path
