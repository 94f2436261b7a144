"""What a place of clips holds, by names, sizes and times: OpenHumanVid's released layout, or a plain folder of videos.

Belongs here: the one listing that registration reads, and restricting it to a published list of clips. Not here: contents
(`raw_clips`), tables (`openhumanvid`), looking at a disk or a bucket (`clip_root`), which file a path means (`clip_names`).
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from lafid_assets.ingest.clip_names import VIDEO_SUFFIXES, find_paths
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


COLUMNS = ("clip_id", "path")


class Restricted(NamedTuple):
    """The files that the list names, and the entries of the list that nobody here has."""

    files: pl.DataFrame
    missing: list[str]


def restrict_to(files: pl.DataFrame, list_path: Path) -> Restricted:
    """Keep the files whose released id stands in the list, and those that a path of the list means (`clip_names.find_paths`).

    Clips of a plain folder have no id before their content is hashed: there an entry is found by its path alone, and one that
    has nothing but an id is missing.

    Args:
        files: rows as `listing.list_files` gives them.
        list_path: CSV with `clip_id`, `path` or both; other columns are not read. An entry is found by either.

    Returns:
        the rows kept, in their order, and the missing entries by id, or else path, sorted.

    Raises:
        SourceUnusable: the list cannot be read, has neither column, or names none of the files.
    """
    wanted = _read(list_path)
    meant = find_paths(wanted["path"], files["path"].unique())
    by_id = pl.col("released_id").is_in(wanted["clip_id"].drop_nulls().implode())
    kept = files.filter(by_id.fill_null(False) | pl.col("path").is_in(meant["found"].implode()))
    if kept.is_empty():
        raise SourceUnusable(
            f"the list {list_path} names none of the {files.height} clips: name the folder that holds its clips"
            + ("" if files["released_id"].count() else ", or give paths: a plain folder's clips have no other name yet")
        )
    held = pl.col("clip_id").is_in(kept["released_id"].drop_nulls().implode()).fill_null(False)
    missing = wanted.filter(~held & ~pl.col("path").is_in(meant["written"].implode()).fill_null(False))
    return Restricted(kept, missing.select(pl.coalesce("clip_id", "path")).to_series().drop_nulls().sort().to_list())


def _read(path: Path) -> pl.DataFrame:
    try:
        table = pl.read_csv(path, infer_schema=False, encoding="utf8", truncate_ragged_lines=True)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SourceUnusable(f"cannot read the list {path}: {error}. Give a CSV in UTF-8 with clip_id or path") from error
    table = table.rename(lambda name: name.strip().removeprefix("\ufeff"))
    if not set(COLUMNS) & set(table.columns):
        raise SourceUnusable(f"the list {path} has neither a column clip_id nor path: give one of them")
    columns = [pl.col(name) if name in table.columns else pl.lit(None, pl.String).alias(name) for name in COLUMNS]
    return table.select(columns).unique(maintain_order=True)
