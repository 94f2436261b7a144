"""A list of clips that somebody published, such as LaFID's own: which of ours it names.

Belongs here: reading the list, restricting files to it, and saying which are missing. Not here: where files come from
(`listing`), which file a path means (`clip_names`).
"""

from pathlib import Path
from typing import NamedTuple

import polars as pl

from lafid_assets.ingest.clip_names import find_paths
from lafid_assets.ingest.provenance import SourceUnusable

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
