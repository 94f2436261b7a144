"""Taking clips out of the lake: out of its tables, its files, its old snapshots and its catalog.

Belongs here: which rows change, and that nothing of what they were is left. Not here: what becomes of a row (`scrub`), files that
are no tables (`erase`).

Only what holds the clips is touched: rows of their shards, rows elsewhere that name them, and the files in which these rows lay.
"""

from collections.abc import Iterable
from typing import Any

import polars as pl

from lafid_assets.dataset.forget.scrub import holds_text, names_a_clip, replacements, scrub_files, scrub_frame
from lafid_assets.dataset.forget.subject import Subject, listed, shards_of
from lafid_assets.schemas import (
    BY_NAME,
    CLIP_CONTENTS,
    CLIP_FILES,
    CLIP_ROWS,
    DATASET_OUTCOMES,
    DATASET_VERSION_ROWS,
    DATASET_VERSIONS,
    TABLES,
)
from lafid_assets.steps.contract import TableSchema
from resources.lake.duckdb_extensions import quoted
from resources.lake.frames import lent
from resources.lake.lake import UNPARTITIONED, Lake
from resources.lake.reader import Reader
from resources.lake.upkeep import drop_all_history
from resources.lake.writer import Writer

OF_FILES = (CLIP_FILES, CLIP_ROWS, CLIP_CONTENTS)
HELD = [table for table in TABLES if table.view is None]
NAMES_OF_PERSONS = ("identity_id", "earlier_id", "split_key")


def scrub_tables(lake: Lake, subject: Subject, *, dry_run: bool) -> list[str]:
    """Change every row that is about the clips or names them; what stands there keeps the fingerprint of what it was made from.

    Returns:
        the tables that changed, or in a dry run would.
    """
    if dry_run:
        with lake.snapshot() as reader:
            return _that_change(reader, subject)
    changed = lake.commit(lambda writer: _scrub(writer, subject))
    # Also when nothing changed: an earlier request may have been interrupted before.
    drop_all_history(lake, {table.name: _were_theirs(table, subject) for table in HELD})
    return changed


def rows_left(lake: Lake, subject: Subject) -> list[str]:
    """Tables in which a row is still about the clips or names them, in any shard."""
    with lake.snapshot() as reader:
        shards = {*subject.shards, *shards_of(reader, subject.clip_ids)}
        return _that_change(reader, subject.model_copy(update={"shards": tuple(shards)}))


def _that_change(reader: Reader, subject: Subject) -> list[str]:
    return sorted({table.name for table, _, _ in _changes(reader, subject)})


def _scrub(writer: Writer, subject: Subject) -> list[str]:
    touched: dict[str, set[str]] = {}
    for table, before, after in list(_changes(writer, subject)):
        shards = {*before["shard"], *after["shard"]} if table.partitioned else {UNPARTITIONED}
        _replace(writer, table, shards, before, after)
        touched.setdefault(table.name, set()).update(shards)
    if DATASET_VERSION_ROWS.name in touched:
        _count_erased(writer)
        touched[DATASET_VERSIONS.name] = {UNPARTITIONED}
    writer.restamp((name, shard) for name, shards in touched.items() if not BY_NAME[name].appended for shard in shards)
    return sorted(touched)


def _replace(writer: Writer, table: TableSchema, shards: Iterable[str], before: pl.DataFrame, after: pl.DataFrame) -> None:
    """Put rows in place of others, which are found by their keys: looking for all texts again would cost as much as the first
    time."""
    keys = ", ".join(table.key)
    where = f"shard IN ({listed(shards)}) AND " if table.partitioned else ""
    with lent(writer.cursor, replaced=before.select(table.key)):
        writer.cursor.execute(f"DELETE FROM {table.name} WHERE {where}({keys}) IN (SELECT ({keys}) FROM replaced)")
    writer.insert(table.name, after)


def _changes(reader: Reader, subject: Subject) -> Iterable[tuple[TableSchema, pl.DataFrame, pl.DataFrame]]:
    """Table, rows that are to change, and what takes their place. In a shard's table only shards with rows of theirs
    are looked at."""
    for table in _that_ever_held_rows(reader):
        own = f"shard IN ({listed(subject.shards)}) AND " if table.partitioned else ""
        before = reader.sql(f"SELECT * FROM {table.name} WHERE {own}({_meant(table, subject)})").select(list(table.dtypes))
        scrubbed = scrub_files(before, subject) if table in OF_FILES else scrub_frame(before, table.name, subject)
        after = table.frame(scrubbed)
        if not after.equals(table.frame(before)):
            yield table, before, after


def _that_ever_held_rows(reader: Reader) -> list[TableSchema]:
    """Each other one costs a statement that takes longer to plan than to answer."""
    rows = reader.cursor.execute(
        f"SELECT table_name FROM {reader.catalog}.ducklake_table JOIN {reader.catalog}.ducklake_table_stats USING (table_id) "
        "WHERE end_snapshot IS NULL AND next_row_id > 0"
    ).fetchall()
    return [table for table in HELD if (table.name,) in rows]


def _were_theirs(table: TableSchema, subject: Subject) -> str:
    """The condition of rows, of any time, that may be about the clips or name them: what a row once said may be known no more."""
    own = f"shard IN ({listed(subject.shards)}) OR " if table.partitioned else ""
    return f"{own}{_mention(table, subject)}"


def _meant(table: TableSchema, subject: Subject) -> str:
    """The condition of rows that are about the clips or name them."""
    if table in OF_FILES:
        files = [(quoted(file.clip_root), quoted(file.path)) for file in subject.raw_files]
        return " OR ".join(f"(clip_root = {root} AND path = {path})" for root, path in files) or "false"
    return f"clip_id IN ({listed(subject.clip_ids)})" if table is DATASET_OUTCOMES else _mention(table, subject)


def _mention(table: TableSchema, subject: Subject) -> str:
    """Rows whose key or another column is one of the clips, or in whose texts something of them stands."""
    ids, found = listed(subject.clip_ids), []
    for name, dtype in table.dtypes.items():
        if dtype == pl.String and (name == "clip_id" or names_a_clip(name)):
            found.append(f'"{name}" IN ({ids})')
        elif _lists_clips(dtype):
            found.append(f'list_has_any(list_transform("{name}", lambda each: each.clip_id), [{ids}])')
        if name in NAMES_OF_PERSONS:
            found.append(f'"{name}" IN ({listed((*subject.names, *subject.clip_ids))})')
        if holds_text(dtype):
            said = _texts(f'"{name}"', dtype)
            found += [f"contains({said}, {quoted(needle)})" for needle in replacements(subject)]
    return " OR ".join(found) or "false"


def _texts(value: str, dtype: Any, depth: int = 0) -> str:
    """SQL of all texts in a value of this type, however deep. As VARCHAR it would hold its numbers, which take a hundred times
    as long to write, and its quotation marks otherwise."""
    if isinstance(dtype, pl.List):
        each = f"each_{depth}"
        return f"array_to_string(list_transform({value}, lambda {each}: {_texts(each, dtype.inner, depth + 1)}), chr(10))"
    if isinstance(dtype, pl.Struct):
        fields = (_texts(f'{value}."{field.name}"', field.dtype, depth) for field in dtype.fields if holds_text(field.dtype))
        return f"concat_ws(chr(10), {', '.join(fields)})"
    return value


def _lists_clips(dtype: Any) -> bool:
    """Whether values of this type list clips by their ids."""
    return isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct) and "clip_id" in dtype.inner.to_schema()


def _count_erased(writer: Writer) -> None:
    """How many of each version's clips are gone now."""
    writer.cursor.execute(
        f"UPDATE {DATASET_VERSIONS.name} SET erased_clips = clips - (SELECT count(*) FROM {DATASET_VERSION_ROWS.name} kept "
        f"WHERE kept.dataset_version = {DATASET_VERSIONS.name}.dataset_version)"
    )
