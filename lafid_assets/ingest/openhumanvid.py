"""OpenHumanVid's released layout: its tables, and its files by name.

Belongs here: reading the tables, and joining rows and files both ways. Not here: plain folders (`listing`), opening a video
(`media_probe`), shards (`registration`).

The released layout (facts: OpenHumanVid, arXiv 2412.00115, and its published table): `OpenHumanVid_part_NNN.csv` with the columns
below; `clips/part_NNN/ab/cd/<clip_id>`, H.264 mp4, with or without the suffix. Ids are missing on both sides.
"""

import csv
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from lafid_assets.ingest.clip_names import find_paths, has_video_suffix, plain_paths, released_id
from lafid_assets.ingest.clip_root import ClipRoot
from lafid_assets.ingest.provenance import SourceUnusable

LOGGER = logging.getLogger("lafid.ingest")

NEEDED = ("clip_id", "path", "caption")
MEASURES = ("luminance_min", "luminance_max", "blur_min", "blur_max", "aesthetic", "technical_score", "global_motion")
CLIPS = "clips"


def list_released(root: ClipRoot, tables: Sequence[str]) -> pl.DataFrame:
    """Rows of `tables`, each with its file where there is one, and the files below `clips` that no row names.

    Only folders that some row names are walked. A file without row counts where its name says that it is a clip: an id, or a
    video's suffix. Its id stays NULL where its name holds none.

    Returns:
        frame (`released_id`, `path`, `size_bytes`, `mtime_ns`, `etag`, `fault`, `in_table`, `caption`, `MEASURES`). The path of a
        row is that of its file; without a file it is what the table says, with `/` between its parts.

    Raises:
        SourceUnusable: `root` or a table cannot be read, or there are rows and not one file: a disk that is not mounted.
        BucketAway: the bucket cannot be read.
    """
    rows = read_tables(root, tables).rename({"clip_id": "released_id"}).with_columns(in_table=pl.lit(True))
    rows = rows.with_columns(plain=plain_paths(rows["path"]))
    folders = rows["plain"].str.extract("^([^/]+)/").drop_nulls().unique()
    files = root.files(lambda name: True, {CLIPS, *folders})
    found = find_paths(rows["path"], files.filter(pl.col("fault").is_null())["path"])
    rows = rows.join(found, left_on="path", right_on="written", how="left").with_columns(path=pl.coalesce("found", "plain"))
    with_file = rows.filter(pl.col("found").is_not_null()).height
    spare = files.join(found, left_on="path", right_on="found", how="anti").filter(pl.col("path").str.starts_with(f"{CLIPS}/"))
    spare = spare.with_columns(released_id=released_id(pl.col("path")), in_table=pl.lit(False))
    spare = spare.filter(pl.col("released_id").is_not_null() | has_video_suffix(pl.col("path"))).sort("path")
    if rows.height and not with_file and spare.is_empty():
        raise SourceUnusable(
            f"{root.address}/{CLIPS} is not there or holds no clip, and the tables name {rows.height}: mount it or name another "
            "folder"
        )
    rows = rows.join(files, on="path", how="left").drop("found", "plain")
    return pl.concat([rows, _first_of_an_id(spare, rows["released_id"])], how="diagonal")


def read_tables(root: ClipRoot, tables: Sequence[str]) -> pl.DataFrame:
    """The rows of all tables; of rows with one id the first counts, and how many others there are is told.

    Raises:
        SourceUnusable: as `read_table`.
    """
    rows = pl.concat([read_table(root, name) for name in tables])
    if repeated := rows.height - rows["clip_id"].n_unique():
        LOGGER.warning("%d rows below %s repeat a clip_id: the first counts", repeated, root.address)
        rows = rows.unique("clip_id", keep="first", maintain_order=True)
    return rows


def read_table(root: ClipRoot, name: str) -> pl.DataFrame:
    """One released table: a byte order mark, blank lines and spare trailing columns are tolerated, a missing column is not.

    Raises:
        SourceUnusable: it cannot be read, lacks `clip_id`, `path` or `caption`, or has rows without id.
        BucketAway: the bucket cannot be read.
    """
    with root.table(name) as path:
        return _read(path, f"{root.address}/{name}")


def _read(path: Path, told: str) -> pl.DataFrame:
    try:
        table = pl.read_csv(path, infer_schema=False, encoding="utf8", truncate_ragged_lines=True)
    except (pl.exceptions.PolarsError, OSError) as error:
        cause = _stray_quote(path) or f"{str(error).splitlines()[0]}. Export it again as CSV in UTF-8"
        raise SourceUnusable(f"cannot read the table {told}: {cause}") from error
    table = table.rename(lambda name: name.strip().removeprefix("\ufeff"))
    missing = [name for name in NEEDED if name not in table.columns]
    if missing:
        raise SourceUnusable(
            f"the table {told} has no column {', '.join(missing)}: OpenHumanVid's tables need {', '.join(NEEDED)}"
        )
    if table["clip_id"].null_count():
        table = table.filter(~pl.all_horizontal(pl.all().is_null()))
    if nameless := table.filter(pl.col("clip_id").fill_null("") == "").height:
        raise SourceUnusable(f"the table {told} has {nameless} rows without clip_id: give them one, or take them out")
    measures = [
        pl.col(name).cast(pl.Float64, strict=False) if name in table.columns else pl.lit(None, pl.Float64).alias(name)
        for name in MEASURES
    ]
    return table.select(*NEEDED, *measures).with_columns(pl.col("path").fill_null(""))


def _first_of_an_id(spare: pl.DataFrame, taken: pl.Series) -> pl.DataFrame:
    """Files without row, but for those whose id a row has that names another file, and for copies under one id."""
    nameless = spare.filter(pl.col("released_id").is_null())
    named = spare.filter(pl.col("released_id").is_not_null()).unique("released_id", keep="first", maintain_order=True)
    kept = pl.concat([named.join(taken.to_frame(), on="released_id", how="anti"), nameless])
    if kept.height < spare.height:
        LOGGER.warning("%d files bear the id of a clip that is listed with another file: left out", spare.height - kept.height)
    return kept


def _stray_quote(path: Path) -> str | None:
    """Which row breaks the quoting of a table that cannot be read; None when none does, or nobody can open it."""
    line, raw = 0, []

    def lines(handle: Iterator[str]) -> Iterator[str]:
        for text in handle:
            raw.append(text)
            yield text

    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as handle:
            reader = csv.reader(lines(handle), strict=True)
            while True:
                line, raw[:] = reader.line_num + 1, []
                try:
                    ended = next(reader, None) is None
                    broken = "".join(raw).count('"') % 2 == 1  # Python takes a quote within a bare text, Polars does not
                except csv.Error:
                    ended, broken = False, True
                if broken:
                    start = raw[0].split(",")[0].strip()[:40]
                    return f'a stray quote in line {line} (row {start!r}): write it twice, as "", in a text that stands in quotes'
                if ended:
                    return None
    except OSError:
        return None
