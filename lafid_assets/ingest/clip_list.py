"""A list of clips that somebody published, such as LaFID's own: which of ours it names.

Belongs here: reading the list, restricting clips to it, and saying which are missing. Not here: where clips come from
(`openhumanvid`).
"""

from pathlib import Path
from typing import NamedTuple

import polars as pl

from lafid_assets.ingest.provenance import SourceUnusable

COLUMNS = ("clip_id", "path")


class Restricted(NamedTuple):
    """The clips that the list names, and the entries of the list that nobody here has."""

    clips: pl.DataFrame
    missing: list[str]


def restrict_to(clips: pl.DataFrame, list_path: Path) -> Restricted:
    """Keep the clips whose id, or else whose path, stands in the list; `.mp4` at the end of a path does not count.

    Args:
        clips: rows as `openhumanvid.list_clips` gives them.
        list_path: CSV with `clip_id`, `path` or both; other columns are not read. An entry is found by either.

    Raises:
        SourceUnusable: the list cannot be read, has neither column, or names none of the clips.
    """
    wanted = _read(list_path)
    by_id = set(wanted["clip_id"].drop_nulls())
    by_path = {path.removesuffix(".mp4") for path in wanted["path"].drop_nulls()}
    kept = clips.filter(pl.col("clip_id").is_in(list(by_id)) | pl.col("path").str.strip_suffix(".mp4").is_in(list(by_path)))
    if kept.is_empty():
        raise SourceUnusable(f"the list {list_path} names none of the {clips.height} clips: name the folder that holds its clips")
    ids, paths = set(kept["clip_id"]), {path.removesuffix(".mp4") for path in kept["path"]}
    missing = [
        clip or path for clip, path in wanted.iter_rows() if clip not in ids and (path or "").removesuffix(".mp4") not in paths
    ]
    return Restricted(kept, sorted(missing))


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
