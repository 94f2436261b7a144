"""What a folder of clips holds, by names, sizes and times: OpenHumanVid's released layout, or a plain folder of videos.

Belongs here: the one listing that registration reads. Not here: contents (`raw_clips`), tables (`openhumanvid`), the walk
(`folder_walk`).
"""

import os
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from lafid_assets.ingest.clip_names import VIDEO_SUFFIXES
from lafid_assets.ingest.folder_walk import walk
from lafid_assets.ingest.openhumanvid import MEASURES, TABLE_PATTERN, list_released
from lafid_assets.ingest.provenance import OPENHUMANVID, UNSTATED, SourceUnusable, read_provenance

LISTED = {
    "clip_root": pl.String,
    "path": pl.String,
    "size_bytes": pl.Int64,
    "mtime_ns": pl.Int64,
    "released_id": pl.String,
    "in_table": pl.Boolean,
    "fault": pl.String,
    "caption": pl.String,
    **dict.fromkeys(MEASURES, pl.Float64),
    "source": pl.String,
    "licence": pl.String,
    "gate": pl.String,
}


def list_files(root: Path, tables: Sequence[Path] | None = None) -> pl.DataFrame:
    """A row a file that is a clip by its name, and a row a released row that has no file. No file is opened but the tables.

    Args:
        root: a folder; relative to the working directory where it is not absolute.
        tables: of OpenHumanVid's layout, those that count; None: all that there are.

    Returns:
        frame with the columns of `LISTED`, sorted by `released_id`, or else `path`. `clip_root` is absolute, `path` relative to
        it. Size (bytes) and time (ns) are NULL without a file; `released_id` is NULL in a plain folder, and where a file in no
        table bears no id; `in_table` is false for the latter alone. `fault` is NULL or `folder_walk.NAME_NOT_UTF8`: such a
        path is a readable spelling, under which no file is found.

    Raises:
        SourceUnusable: no such folder, nothing in it, a table that cannot be used, tables whose clips are all away, or a
            provenance file that is broken.
    """
    root = Path(os.path.abspath(root))
    try:
        str(root).encode()
        if not root.is_dir():
            raise SourceUnusable(f"there is no folder {root}: mount it or name another folder")
        tables = sorted(root.glob(TABLE_PATTERN)) if tables is None else tables
        listed = list_released(root, tables) if tables else _list_plain(root)
    except UnicodeEncodeError as error:
        raise SourceUnusable(f"the name of the folder {str(root)!r} is not UTF-8: rename it") from error
    except OSError as error:
        raise SourceUnusable(f"cannot read the folder {root}: {error.strerror}. Mend that or name another folder") from error
    if listed.is_empty():
        raise SourceUnusable(f"{root} holds neither {TABLE_PATTERN} nor a video file: put clips there, or name another folder")
    provenance = read_provenance(root, otherwise=OPENHUMANVID if tables else UNSTATED)
    same_for_all = {"clip_root": str(root), **provenance.model_dump()}
    listed = listed.with_columns(pl.lit(value).alias(name) for name, value in same_for_all.items())
    return listed.select(pl.col(name).cast(dtype) for name, dtype in LISTED.items()).sort(
        pl.coalesce("released_id", "path"), "path"
    )


def _list_plain(root: Path) -> pl.DataFrame:
    files = walk(root, lambda name: os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES)
    nothing = [pl.lit(None, dtype).alias(name) for name, dtype in LISTED.items() if name in {"released_id", "caption", *MEASURES}]
    return files.with_columns(*nothing, in_table=pl.lit(True))
