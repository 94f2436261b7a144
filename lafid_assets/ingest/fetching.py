"""A drop on S3: its objects are listed, and those that have arrived are fetched whole into a folder of the home.

Belongs here: listing, what has arrived, fetching. Not here: what becomes of the folder, which is a drop like any other
(`arrivals`), when to look (`sensors.clip_drop`).

An object has arrived when two looks find it equal. It is fetched when a file of its size and time lies in the folder: nothing
else is remembered, so that a kill forgets nothing.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import polars as pl

from lafid_assets.ingest.clip_names import VIDEO_SUFFIXES
from lafid_assets.ingest.openhumanvid import CLIPS, TABLE_PATTERN
from lafid_assets.ingest.provenance import SOURCE_FILE, SourceUnusable
from lafid_assets.wording import first_few
from model.files import whole_file

OBJECTS = {"path": pl.String, "size_bytes": pl.Int64, "mtime_ns": pl.Int64, "etag": pl.String}

CHUNK_BYTES = 1 << 20


class Looked(NamedTuple):
    """One look at the prefix.

    Attributes:
        arrived: objects to be fetched, with the columns of `OBJECTS`.
        settling: objects that were not so at the look before.
    """

    arrived: pl.DataFrame
    settling: int


class NotFetched(OSError):
    """Objects could not be fetched; the others were. The message names the first, the cause and the remedy."""


def look_at_objects(uri: str, folder: Path, looks: Path) -> Looked:
    """List the prefix, and keep what was seen for the next look.

    Args:
        uri: `s3://bucket/prefix`.
        folder: where its objects are fetched to.
        looks: the file that keeps it.

    Raises:
        SourceUnusable: it cannot be listed.
    """
    there, before = list_objects(uri), _last_look(looks)
    settled = there.join(before, on=list(OBJECTS), how="semi", nulls_equal=True)
    if settled.height < max(there.height, before.height):
        with whole_file(looks) as temporary:
            there.write_parquet(temporary)
    return Looked(_lacking(settled, folder), there.height - settled.height)


def fetch_arrived(uri: str, folder: Path, looks: Path, most_bytes: float) -> int:
    """Fetch what has arrived and is still as the last look found it. A file appears whole, with the object's time.

    Args:
        most_bytes: that the folder may take; what does not fit is left out, and told.

    Returns:
        how many objects were fetched.

    Raises:
        NotFetched: some were not.
        SourceUnusable: the prefix cannot be listed.
    """
    settled = list_objects(uri).join(_last_look(looks), on=list(OBJECTS), how="semi", nulls_equal=True)
    client, (bucket, prefix) = _client(), _place(uri)
    held = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    fetched, faults = 0, list[str]()
    for row in _lacking(settled, folder).sort("path").iter_rows(named=True):
        target = folder / row["path"]
        replaced = target.stat().st_size if target.is_file() else 0
        if held + row["size_bytes"] - replaced > most_bytes:
            faults.append(f"{row['path']}: {folder} holds {held / 1e9:.1f} GB, at most {most_bytes / 1e9:.1f}: raise fetched_gb")
            continue
        try:
            with whole_file(target) as temporary, _told(f"{uri}/{row['path']}"):
                found = client.get_object(Bucket=bucket, Key=prefix + row["path"], IfMatch=row["etag"])
                with temporary.open("wb") as file:
                    shutil.copyfileobj(found["Body"], file, CHUNK_BYTES)
                os.utime(temporary, ns=(row["mtime_ns"], row["mtime_ns"]))
        except OSError as error:
            faults.append(f"{row['path']}: {error}")
            continue
        held, fetched = held + row["size_bytes"] - replaced, fetched + 1
    if faults:
        raise NotFetched(f"{len(faults)} objects of {uri} are not fetched, {fetched} were; {first_few(faults, 1)}")
    return fetched


def list_objects(uri: str) -> pl.DataFrame:
    """What could be clips, tables, or the file that says whence they are; by their names below the prefix, never their contents.

    Raises:
        SourceUnusable: the prefix cannot be listed.
    """
    bucket, prefix = _place(uri)
    rows: list[tuple[str, int, int, str]] = []
    try:
        with _told(uri):
            for page in _client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                for item in page.get("Contents", ()):
                    if _is_wanted(path := item["Key"].removeprefix(prefix)):
                        rows.append((path, item["Size"], int(item["LastModified"].timestamp()) * 10**9, item["ETag"]))
    except OSError as error:
        raise SourceUnusable(f"{error}: check LAFID_DROP, the network and the credentials") from error
    return pl.DataFrame(rows, schema=OBJECTS, orient="row")


def _lacking(objects: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """Those of which the folder holds no file of this size and time."""

    def is_there(row: tuple[Any, ...]) -> bool:
        try:
            state = os.stat(folder / row[0])
        except OSError:
            return False
        return (state.st_size, state.st_mtime_ns) == row[1:3]

    return objects.filter(pl.Series([not is_there(row) for row in objects.iter_rows()], dtype=pl.Boolean))


def _is_wanted(path: str) -> bool:
    """A name that leads out of the folder, or would be hidden in it, is nobody's clip."""
    parts = path.split("/")
    if any(not part or part.startswith(".") for part in parts):
        return False
    is_table = len(parts) == 1 and PurePosixPath(path).match(TABLE_PATTERN)
    return bool(is_table) or path == SOURCE_FILE or parts[0] == CLIPS or os.path.splitext(path)[1].lower() in VIDEO_SUFFIXES


def _last_look(looks: Path) -> pl.DataFrame:
    try:
        before = pl.read_parquet(looks)
    except (pl.exceptions.PolarsError, OSError):
        return pl.DataFrame(schema=OBJECTS)
    return before if before.schema == OBJECTS else pl.DataFrame(schema=OBJECTS)


def _place(uri: str) -> tuple[str, str]:
    bucket, _, prefix = uri.removeprefix("s3://").strip("/").partition("/")
    return bucket, f"{prefix}/" if prefix else ""


def _client() -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client("s3", config=Config(connect_timeout=10, read_timeout=30, retries={"max_attempts": 3}))


@contextmanager
def _told(what: str) -> Iterator[None]:
    """S3's errors in one line."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (Boto3Error, BotoCoreError, ClientError) as error:
        raise OSError(f"cannot read {what} ({' '.join(str(error).split())})") from error
