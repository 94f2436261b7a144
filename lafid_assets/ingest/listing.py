"""What a place of clips holds, by names, sizes and times: OpenHumanVid's released layout, or a plain folder of videos.

Belongs here: the one listing that registration reads. Not here: contents (`raw_clips`), tables (`openhumanvid`), looking at a
disk or a bucket (`clip_root`).
"""

import os
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from lafid_assets.ingest.clip_names import VIDEO_SUFFIXES
from lafid_assets.ingest.clip_root import TABLE_PATTERN, ClipRoot, root_at
from lafid_assets.ingest.openhumanvid import MEASURES, list_released
from lafid_assets.ingest.provenance import OPENHUMANVID, UNSTATED, SourceUnusable, read_provenance

LISTED = {
    "clip_root": pl.String,
    "path": pl.String,
    "size_bytes": pl.Int64,
    "mtime_ns": pl.Int64,
    "etag": pl.String,
    "released_id": pl.String,
    "in_table": pl.Boolean,
    "fault": pl.String,
    "caption": pl.String,
    **dict.fromkeys(MEASURES, pl.Float64),
    "source": pl.String,
    "licence": pl.String,
    "gate": pl.String,
}


def list_files(place: ClipRoot | Path | str, tables: Sequence[str] | None = None) -> pl.DataFrame:
    """A row a file that is a clip by its name, and a row a released row that has no file. No file is opened but the tables.

    Args:
        place: a folder, relative to the working directory where it is not absolute; or `s3://bucket/prefix`.
        tables: of OpenHumanVid's layout, the names of those that count; None: all that there are.

    Returns:
        frame with the columns of `LISTED`, sorted by `released_id`, or else `path`. `clip_root` is absolute, `path` relative to
        it. Size (bytes) and time (ns) are NULL without a file, `etag` is NULL but on S3; `released_id` is NULL in a plain
        folder, and where a file in no table bears no id; `in_table` is false for the latter alone. `fault` is NULL or
        `folder_walk.NAME_NOT_UTF8`: such a path is a readable spelling, under which no file is found.

    Raises:
        SourceUnusable: no such folder, nothing in it, a table that cannot be used, tables whose clips are all away, or a
            provenance file that is broken.
        BucketAway: the bucket cannot be read.
    """
    root = root_at(place) if isinstance(place, Path | str) else place
    root.require()
    tables = root.tables()["path"].to_list() if tables is None else tables
    listed = list_released(root, tables) if tables else _list_plain(root)
    if listed.is_empty():
        raise SourceUnusable(
            f"{root.address} holds neither {TABLE_PATTERN} nor a video file: put clips there, or name another place"
        )
    provenance = read_provenance(root.provenance(), root.address, otherwise=OPENHUMANVID if tables else UNSTATED)
    same_for_all = {"clip_root": root.address, **provenance.model_dump()}
    listed = listed.with_columns(pl.lit(value).alias(name) for name, value in same_for_all.items())
    return listed.select(pl.col(name).cast(dtype) for name, dtype in LISTED.items()).sort(
        pl.coalesce("released_id", "path"), "path"
    )


def _list_plain(root: ClipRoot) -> pl.DataFrame:
    files = root.files(lambda name: os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES)
    nothing = [pl.lit(None, dtype).alias(name) for name, dtype in LISTED.items() if name in {"released_id", "caption", *MEASURES}]
    return files.with_columns(*nothing, in_table=pl.lit(True))
