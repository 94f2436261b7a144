"""Objects on S3 as this project reads them: listed by pages, fetched whole, and whose fault it is when one is not.

Belongs here: the requests, and what an answer means. Not here: which objects are clips (`lafid_assets.ingest`), where fetched
ones lie (`scratch`), the store's own files (`file_store`, `lake`), which are S3's as well.

Credentials and endpoint are boto's: the environment, a profile or a role; `AWS_ENDPOINT_URL` for another S3 than Amazon's.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from resources.transient_errors import Transient

SCHEME = "s3://"
CHUNK_BYTES = 1 << 20
TRIES = 3
"""Tries of one fetch that breaks off; boto tries each request that often as well."""
PROBES = 3
"""Objects beside a refused one that are asked for, to tell whose fault it is."""
_REFUSED = ("403", "AccessDenied")
_MISSING = ("404", "NoSuchKey")
_SAID_OF_OBJECTS = {
    **dict.fromkeys(_MISSING, "is not there any more: put it back, or curate its prefix again"),
    **dict.fromkeys(("412", "PreconditionFailed"), "has changed since it was listed: curate its prefix again"),
    "InvalidObjectState": "lies in an archive: restore it first",
}
"""S3's own code to what it means; whatever else it answers is a fault of the bucket."""


class BucketAway(RuntimeError, Transient):
    """The bucket cannot be read: a fault of no object. The message names it and the remedy."""


class ObjectUnreadable(OSError):
    """One object cannot be had, and others can; the message names it and the remedy. `is_missing`: there is no such object."""

    def __init__(self, message: str, *, is_missing: bool = False) -> None:
        super().__init__(message)
        self.is_missing = is_missing


class NotWanted(Exception):
    """Nobody waits for it any more."""


class Listed(NamedTuple):
    """One object of a listing; `mtime_s` is when it was put, whole seconds since 1970."""

    key: str
    size_bytes: int
    mtime_s: int
    etag: str


def is_address(place: object) -> bool:
    """Whether somebody names an S3 place, and no folder."""
    return isinstance(place, str) and place.startswith(SCHEME)


def split_address(address: str) -> tuple[str, str]:
    """Bucket and key, or prefix."""
    bucket, _, key = address.removeprefix(SCHEME).partition("/")
    return bucket, key


def list_objects(address: str, *, directly: bool = False) -> Iterator[Listed]:
    """The objects whose key begins with the address's, a request for each thousand.

    Args:
        directly: only those without a further `/`.

    Raises:
        BucketAway: it cannot be listed.
    """
    bucket, prefix = split_address(address)
    asked = {"Bucket": bucket, "Prefix": prefix} | ({"Delimiter": "/"} if directly else {})
    with _of_the_bucket(address):
        for page in client().get_paginator("list_objects_v2").paginate(**asked):
            for item in page.get("Contents", ()):
                yield Listed(item["Key"], item["Size"], int(item["LastModified"].timestamp()), item["ETag"])


def fetch(address: str, target: Path, etag: str | None, content_sha256: str | None, is_wanted: Callable[[], bool]) -> None:
    """Fetch an object whole into a file, by one request, and hash it on the way where its hash is known.

    Args:
        etag: the state in which it is wanted; None: any.

    Raises:
        ObjectUnreadable: there is none, it is another by now, or it is refused though others are not.
        BucketAway: nothing of the bucket can be had.
        NotWanted: `is_wanted` says so, on the way.
    """
    for left in reversed(range(TRIES)):
        try:
            found = _fetch_once(address, target, etag, is_wanted, hashed=content_sha256 is not None)
        except BucketAway:
            if not left:
                raise
        else:
            break
    if found != content_sha256:
        raise ObjectUnreadable(f"{address} has changed since it was curated: curate its prefix again, or put it back as it was")


def size_of(address: str) -> int:
    """Bytes of an object.

    Raises:
        ObjectUnreadable, BucketAway: as `fetch`.
    """
    bucket, key = split_address(address)
    with _of_the_object(address):
        return int(client().head_object(Bucket=bucket, Key=key)["ContentLength"])


def read_object(address: str) -> bytes:
    """A small object.

    Raises:
        ObjectUnreadable, BucketAway: as `fetch`.
    """
    bucket, key = split_address(address)
    with _of_the_object(address):
        return bytes(client().get_object(Bucket=bucket, Key=key)["Body"].read())


def remove_object(address: str) -> None:
    """Delete an object; nothing happens where there is none. A bucket with versions keeps the earlier ones.

    Raises:
        BucketAway: it cannot be deleted.
    """
    bucket, key = split_address(address)
    with _of_the_bucket(address):
        client().delete_object(Bucket=bucket, Key=key)


@lru_cache(maxsize=1)
def client() -> Any:
    """Boto's client of this process; its threads share it."""
    import boto3
    from botocore.config import Config

    retries = {"max_attempts": TRIES, "mode": "standard"}
    return boto3.client("s3", config=Config(connect_timeout=10, read_timeout=30, retries=retries, max_pool_connections=32))


def _fetch_once(address: str, target: Path, etag: str | None, is_wanted: Callable[[], bool], *, hashed: bool) -> str | None:
    bucket, key = split_address(address)
    digest = hashlib.sha256() if hashed else None
    asked = {"Bucket": bucket, "Key": key} | ({"IfMatch": etag} if etag else {})
    # What lies there may be taken up already, so that it cannot fill the disk: it is written over, and cut to its length.
    with _of_the_object(address), os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT), "wb") as file:
        for chunk in client().get_object(**asked)["Body"].iter_chunks(CHUNK_BYTES):
            if not is_wanted():
                raise NotWanted(address)
            file.write(chunk)
            if digest:
                digest.update(chunk)
        file.truncate()
    return digest.hexdigest() if digest else None


@contextmanager
def _of_the_object(address: str) -> Iterator[None]:
    """S3's answers about one object, in one line: a fault of its own, or of the bucket."""
    from botocore.exceptions import ClientError

    with _of_the_bucket(address):
        try:
            yield
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            said = _SAID_OF_OBJECTS.get(code)
            if code in _REFUSED and _others_are_given(address):
                said = "is refused, while others of its bucket are not: grant the reading of it, too"
            if said is None:
                raise
            raise ObjectUnreadable(f"{address} {said}", is_missing=code in _MISSING) from error


@contextmanager
def _of_the_bucket(address: str) -> Iterator[None]:
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (Boto3Error, BotoCoreError, ClientError, HTTPClientError, HTTPError) as error:
        said = " ".join(str(error).split())
        raise BucketAway(f"cannot read {address} ({said}): check the bucket, the network and the credentials") from error


def _others_are_given(address: str) -> bool:
    """Whether objects beside a refused one can be read: then the refusal is its own, and not of these credentials."""
    from botocore.exceptions import ClientError

    bucket, key = split_address(address)
    prefix = f"{key.rpartition('/')[0]}/" if "/" in key else ""
    try:
        page = client().list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=PROBES + 1)
    except ClientError:
        return False
    for item in [item for item in page.get("Contents", ()) if item["Key"] != key][:PROBES]:
        try:
            client().head_object(Bucket=bucket, Key=item["Key"])
        except ClientError:
            continue
        return True
    return False
