"""Taking clips out of the lake: out of its tables, its files, its old snapshots and its catalog.

Belongs here: which rows change, and that nothing of what they were is left. Not here: what becomes of a row (`scrub`), files that
are no tables (`erase`).

Only what holds the clips is touched: rows of their shards, rows elsewhere that name them, and the files in which these rows lay.
"""

import sqlite3
from collections.abc import Iterable
from contextlib import closing

import polars as pl
from resources.lake_upkeep import drop_all_history

from lafid_assets.contract import TableSchema
from lafid_assets.dataset.forget.scrub import holds_text, names_a_clip, replacements, scrub_files, scrub_frame
from lafid_assets.dataset.forget.subject import Subject
from lafid_assets.schemas import (
    BY_NAME,
    CLIP_CONTENTS,
    CLIP_FILES,
    CLIP_ROWS,
    CLIPS,
    DATASET_OUTCOMES,
    DATASET_VERSION_ROWS,
    DATASET_VERSIONS,
    TABLES,
)
from resources.duckdb_extensions import quoted
from resources.lake import UNPARTITIONED, Lake
from resources.lake_reader import Reader
from resources.lake_writer import Writer

OF_FILES = (CLIP_FILES, CLIP_ROWS, CLIP_CONTENTS)


def scrub_tables(lake: Lake, subject: Subject, *, dry_run: bool) -> list[str]:
    """Change every row that is about the clips or names them; what stands there keeps the fingerprint of what it was made from.

    Returns:
        the tables that changed, or in a dry run would.
    """
    if dry_run:
        with lake.snapshot() as reader:
            return sorted({table.name for table, _, _, _ in _changes(reader, subject)})
    changed = lake.commit(lambda writer: _scrub(writer, subject))
    # Also when nothing changed: an earlier request may have been interrupted before its history was gone.
    drop_all_history(lake, [table.name for table in TABLES if table.view is None], subject.needles)
    if (path := lake.catalog.sqlite_path) is not None:
        lake.close()  # two libraries of SQLite must not have one file open in one process
        with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as connection:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return changed


def rows_left(lake: Lake, subject: Subject) -> list[str]:
    """Tables in which a row is still about the clips or names them."""
    with lake.snapshot() as reader:
        return [
            table.name
            for table, where in _conditions(reader, subject)
            if not reader.sql(f"SELECT 1 AS there FROM {table.name} WHERE {where} LIMIT 1").is_empty()
        ]


def _scrub(writer: Writer, subject: Subject) -> list[str]:
    touched: dict[str, set[str]] = {}
    for table, where, before, after in list(_changes(writer, subject)):
        writer.cursor.execute(f"DELETE FROM {table.name} WHERE {where}")
        writer.insert(table.name, after)
        shards = {*before["shard"], *after["shard"]} if table.partitioned else {UNPARTITIONED}
        touched.setdefault(table.name, set()).update(shards)
    if DATASET_VERSION_ROWS.name in touched:
        _count_erased(writer)
        touched[DATASET_VERSIONS.name] = {UNPARTITIONED}
    for name, shards in touched.items():
        if not BY_NAME[name].appended:
            for shard in shards:
                writer.restamp(name, shard)
    return sorted(touched)


def _changes(reader: Reader, subject: Subject) -> Iterable[tuple[TableSchema, str, pl.DataFrame, pl.DataFrame]]:
    """Table, condition, the rows that meet it, and what takes their place."""
    for table, where in _conditions(reader, subject):
        before = reader.sql(f"SELECT * FROM {table.name} WHERE {where}").select(list(table.dtypes))
        scrubbed = scrub_files(before, subject) if table in OF_FILES else scrub_frame(before, table.name, subject)
        after = table.frame(scrubbed)
        if not after.equals(table.frame(before)):
            yield table, where, before, after


def _conditions(reader: Reader, subject: Subject) -> Iterable[tuple[TableSchema, str]]:
    """Where rows may be about the clips, by table. Of a shard's table only their shards are looked at."""
    ids, files = _listed(subject.clip_ids), [(file.clip_root, file.path) for file in subject.raw_files]
    shards = reader.sql(
        f"SELECT shard FROM {CLIPS.name} WHERE clip_id IN ({ids}) "
        f"UNION SELECT shard FROM {CLIP_CONTENTS.name} WHERE clip_id IN ({ids}) "
        f"UNION SELECT shard FROM {CLIP_FILES.name} WHERE released_id IN ({ids})"
    )["shard"].to_list()
    for table in TABLES:
        if table.view is not None:
            continue
        if table in OF_FILES:
            places = " OR ".join(f"(clip_root = {quoted(root)} AND path = {quoted(path)})" for root, path in files) or "false"
            yield table, f"shard IN ({_listed(shards)}) AND ({places})"
        elif table is DATASET_OUTCOMES:
            yield table, f"clip_id IN ({ids})"
        else:
            own = f"shard IN ({_listed(shards)}) AND " if table.partitioned else ""
            yield table, f"{own}({_mention(table, subject)})"


def _mention(table: TableSchema, subject: Subject) -> str:
    """Rows whose key or another column is one of the clips, or in whose texts something of them stands."""
    exact = [
        f'"{name}" IN ({_listed(subject.clip_ids)})'
        for name, dtype in table.dtypes.items()
        if dtype == pl.String and (name == "clip_id" or names_a_clip(name))
    ]
    names = [
        f'"{name}" IN ({_listed(subject.names)})' for name in table.dtypes if name in ("identity_id", "earlier_id", "split_key")
    ]
    texts = [f'"{name}"::VARCHAR' for name, dtype in table.dtypes.items() if holds_text(dtype)]
    inside = [f"contains({text}, {quoted(needle)})" for text in texts for needle in replacements(subject)]
    return " OR ".join([*exact, *(names if subject.names else []), *inside]) or "false"


def _count_erased(writer: Writer) -> None:
    """How many of each version's clips are gone now."""
    writer.cursor.execute(
        f"UPDATE {DATASET_VERSIONS.name} SET erased_clips = clips - (SELECT count(*) FROM {DATASET_VERSION_ROWS.name} kept "
        f"WHERE kept.dataset_version = {DATASET_VERSIONS.name}.dataset_version)"
    )


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(map(quoted, texts)) or "NULL"
