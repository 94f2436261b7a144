"""Reading what people have on disk: OpenHumanVid's released layout, or a plain folder of videos.

Belongs here: tables, paths and files, joined both ways. Not here: opening a video (`media_probe`), shards (`shards`).

The released layout (facts: OpenHumanVid, arXiv 2412.00115, and its published table): `OpenHumanVid_part_NNN.csv` with the columns
below; `clips/part_NNN/ab/cd/<clip_id>`, H.264 mp4, with or without the suffix. Ids are missing on both sides.
"""

import hashlib
import logging
import os
from pathlib import Path

import polars as pl

from lafid_assets.ingest.provenance import OPENHUMANVID, UNSTATED, SourceUnusable, read_provenance

LOGGER = logging.getLogger("lafid.ingest")

TABLE_PATTERN = "OpenHumanVid_part_*.csv"
NEEDED = ("clip_id", "path", "caption")
MEASURES = ("luminance_min", "luminance_max", "blur_min", "blur_max", "aesthetic", "technical_score", "global_motion")
VIDEO_SUFFIXES = frozenset({"", ".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".gif", ".mpg", ".mpeg", ".ts", ".wmv"})

MANIFEST = {
    "clip_id": pl.String,
    "path": pl.String,
    "clip_root": pl.String,
    "caption": pl.String,
    **dict.fromkeys(MEASURES, pl.Float64),
    "in_table": pl.Boolean,
    "source": pl.String,
    "licence": pl.String,
    "gate": pl.String,
}


def list_clips(root: Path) -> pl.DataFrame:
    """Every clip that `root` knows of, one row each: rows without file and files without row included.

    Returns:
        frame with the columns of `MANIFEST`, sorted by clip id.

    Raises:
        SourceUnusable: no such folder, nothing in it, a table that lacks a needed column, or a provenance file that is broken.
    """
    if not root.is_dir():
        raise SourceUnusable(f"{root} is not a folder: name the folder that holds the clips")
    tables = sorted(root.glob(TABLE_PATTERN))
    provenance = read_provenance(root, otherwise=OPENHUMANVID if tables else UNSTATED)
    listed = _list_released(root, tables) if tables else _list_folder(root)
    if listed.is_empty():
        raise SourceUnusable(f"{root} holds neither {TABLE_PATTERN} nor a video file: put clips there, or name another folder")
    listed = listed.with_columns(
        clip_root=pl.lit(str(root)), **{name: pl.lit(value) for name, value in provenance.model_dump().items()}
    )
    return listed.select(pl.col(name).cast(dtype) for name, dtype in MANIFEST.items()).sort("clip_id")


def read_table(path: Path) -> pl.DataFrame:
    """One released table: a byte order mark and spare trailing columns are tolerated, a missing column is not.

    Raises:
        SourceUnusable: it cannot be read, or lacks `clip_id`, `path` or `caption`.
    """
    try:
        table = pl.read_csv(path, infer_schema=False, encoding="utf8", truncate_ragged_lines=True)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SourceUnusable(f"cannot read the table {path}: {error}. Export it again as CSV in UTF-8") from error
    table = table.rename(lambda name: name.strip().removeprefix("\ufeff"))
    missing = [name for name in NEEDED if name not in table.columns]
    if missing:
        raise SourceUnusable(
            f"the table {path} has no column {', '.join(missing)}: OpenHumanVid's tables need {', '.join(NEEDED)}"
        )
    measures = [
        pl.col(name).cast(pl.Float64, strict=False) if name in table.columns else pl.lit(None, pl.Float64).alias(name)
        for name in MEASURES
    ]
    nameless = table["clip_id"].null_count()
    if nameless:
        raise SourceUnusable(f"the table {path} has {nameless} rows without clip_id: give them one, or take them out")
    rows = table.select(*NEEDED, *measures).with_columns(pl.col("path").fill_null(""))
    return rows.unique("clip_id", keep="first", maintain_order=True)


def find_file(root: Path, path: str) -> Path:
    """Where the file of a row lies: the path as written, else with `.mp4` (released archives come either way)."""
    exact = root / path
    with_suffix = root / f"{path}.mp4"
    # os.path, unlike pathlib, also answers for names that no disk can hold; anyone may have written the table.
    return with_suffix if not os.path.exists(exact) and os.path.exists(with_suffix) else exact


def _list_released(root: Path, tables: list[Path]) -> pl.DataFrame:
    rows = pl.concat([read_table(path) for path in tables]).unique("clip_id", keep="first", maintain_order=True)
    rows = rows.with_columns(in_table=pl.lit(True))
    known = {str(find_file(root, path).relative_to(root)) for path in rows["path"] if not Path(path).is_absolute()}
    files = sorted(str(path.relative_to(root)) for path in (root / "clips").rglob("*") if path.is_file() or path.is_symlink())
    spare = [path for path in files if path not in known and Path(path).suffix in VIDEO_SUFFIXES]
    without_row = pl.DataFrame(
        {"clip_id": [_id_from_name(path) for path in spare], "path": spare, "in_table": [False] * len(spare)},
        schema={"clip_id": pl.String, "path": pl.String, "in_table": pl.Boolean},
    ).unique("clip_id", keep="first", maintain_order=True)
    return pl.concat([rows, without_row.filter(~pl.col("clip_id").is_in(rows["clip_id"].implode()))], how="diagonal")


def _list_folder(root: Path) -> pl.DataFrame:
    files = sorted(p for p in root.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES and not _is_hidden(p.relative_to(root)))
    rows = [(_id_from_file(path, root), str(path.relative_to(root))) for path in files if not path.is_dir()]
    listed = pl.DataFrame(rows, schema={"clip_id": pl.String, "path": pl.String}, orient="row")
    kept = listed.unique("clip_id", keep="first", maintain_order=True)
    if kept.height < listed.height:
        LOGGER.warning("%d files of %s are copies of others: each content counts once", listed.height - kept.height, root)
    return kept.with_columns(
        caption=pl.lit(None, pl.String),
        **{name: pl.lit(None, pl.Float64) for name in MEASURES},
        in_table=pl.lit(True),
    )


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _id_from_name(path: str) -> str:
    stem = Path(path).stem
    is_hex_id = len(stem) == 32 and all(c in "0123456789abcdef" for c in stem)
    return stem if is_hex_id else hashlib.sha256(path.encode()).hexdigest()[:32]


def _id_from_file(path: Path, root: Path) -> str:
    """What is no file, or cannot be read, is named by its path: it ends as an error of its own, and no other clip suffers."""
    try:
        return _id_from_content(path) if path.is_file() else _id_from_name(str(path.relative_to(root)))
    except OSError:
        return _id_from_name(str(path.relative_to(root)))


def _id_from_content(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()[:32]
