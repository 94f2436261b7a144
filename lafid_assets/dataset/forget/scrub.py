"""Taking clips out of one table, one SQLite file or one text.

Belongs here: content in, content without them out. Not here: which files there are (`erase`).

A row about a forgotten clip goes. In `clips`, `pieces` and the tables of its files it stays under a pseudonym, empty, so that the
counts still add up. Where other rows only name the clip, a pseudonym takes the place of the name; pairs of clips go with either.
So do the persons of whom no clip is left, in the history of the persons. A person who is left and bears the beginning of a
forgotten clip's id in the name is renamed everywhere alike, in kept versions and split keys, too: no table holds the old name, so
that none could map it to the new one.
"""

import re
import sqlite3
from collections.abc import Collection, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl

from lafid_assets.dataset.forget.subject import SHORTEST_NEEDLE, Subject
from lafid_assets.ingest.tombstones import FORGOTTEN, empty_pieces, pseudonym
from lafid_assets.schemas import BY_NAME, CLIPS, IDENTITY_HISTORY, PIECES

GONE = "[forgotten]"
SQLITE_MAGIC = b"SQLite format 3\0"
BUSY_S = 60.0
_PICTURE = re.compile(r"data:image/[a-z+]+;base64,[A-Za-z0-9+/=]+")


def replacements(subject: Subject) -> dict[str, str]:
    """Text to what takes its place, longest first."""
    gone = (*subject.contents, *subject.captions, *subject.own_names)
    names = {clip: pseudonym(clip) for clip in subject.clip_ids} | subject.persons_named_after | dict.fromkeys(gone, GONE)
    return {text: names[text] for text in sorted(names, key=len, reverse=True) if len(text) >= SHORTEST_NEEDLE}


def scrub_frame(frame: pl.DataFrame, table: str, subject: Subject) -> pl.DataFrame:
    """Rows of a table without the clips.

    Args:
        table: its name; of a file that is no table of ours, anything else.
    """
    ids = list(subject.clip_ids)
    if table == CLIPS.name:
        frame = _emptied(frame, pl.col("clip_id").is_in(ids), ("shard", "clip_id"), FORGOTTEN)
    elif table == PIECES.name:
        frame = empty_pieces(frame.filter(~pl.col("recording_id").is_in(ids)), ids)
    elif "clip_id" in frame.columns:
        frame = frame.filter(~pl.col("clip_id").is_in(ids).fill_null(False))
    elif table == IDENTITY_HISTORY.name:
        frame = frame.filter(~pl.any_horizontal(pl.col("earlier_id", "identity_id").is_in(list(subject.identities))))
    nullable = {column.name for column in BY_NAME[table].columns if column.nullable} if table in BY_NAME else set()
    for name, dtype in frame.schema.items():
        if dtype == pl.String and names_a_clip(name):
            named = pl.col(name).is_in(ids).fill_null(False)
            frame = frame.with_columns(pl.when(~named).then(name)) if name in nullable else frame.filter(~named)
    return _rename(frame, subject)


def scrub_files(frame: pl.DataFrame, subject: Subject) -> pl.DataFrame:
    """Rows of the tables of files: their places stay as pseudonyms, empty but for their terms.

    Args:
        frame: rows of files of the clips alone.
    """
    frame = frame.sort("clip_root", "path")
    released = pl.col("released_id") if "released_id" in frame.columns else pl.lit(None, pl.String)
    clip = pl.col("clip_id") if "clip_id" in frame.columns else released
    named = {(file.clip_root, file.path): file.named_by for file in subject.raw_files}
    paths = [pseudonym(named.get((root, path)) or f"{root}/{path}") for root, path in frame.select("clip_root", "path").rows()]
    kept = ("shard", "clip_root", "path", "clip_id", "clip_shard", "seen_at", "in_table", "source", "licence", "gate")
    names = {clip: pseudonym(clip) for clip in subject.clip_ids}
    ids = [
        name.replace(names).alias(column)
        for name, column in ((clip, "clip_id"), (released, "released_id"))
        if column in frame.columns
    ]
    emptied = _emptied(frame.with_columns(*ids), pl.lit(True), (*kept, "released_id"), {})
    # Several files of one released clip are one row of its table.
    return emptied.with_columns(path=pl.Series(paths, dtype=pl.String)).unique(["clip_root", "path"], keep="first")


def _emptied(frame: pl.DataFrame, gone: pl.Expr, kept: Collection[str], values: Mapping[str, str]) -> pl.DataFrame:
    """`frame` whose rows that are `gone` hold nothing but `kept` and `values`."""
    return frame.with_columns(
        pl.when(gone).then(pl.lit(values.get(name), dtype)).otherwise(pl.col(name)).alias(name)
        for name, dtype in frame.schema.items()
        if name not in kept
    )


def scrub_sqlite(path: Path, subject: Subject, *, with_pictures: bool, rebuild: bool, dry_run: bool) -> bool:
    """Take the clips out of every text of a SQLite file, then rebuild it: deleted text stays in free pages otherwise.

    Args:
        with_pictures: also take out pictures that stand in texts as data URIs (Dagster keeps those of reports that way).
        rebuild: even when no text holds them, because a free page does.

    Returns:
        whether there was anything to take out.
    """
    found = rebuild
    with closing(sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)) as connection:
        connection.create_function("without_pictures", 1, lambda text: _PICTURE.sub(GONE, text), deterministic=True)
        for table, column in _text_columns(connection):
            changes = [(f"replace({column}, ?, ?)", [old, new], old) for old, new in replacements(subject).items()]
            if with_pictures:
                changes.append((f"without_pictures({column})", [], "data:image/"))
            for expression, values, sign in changes:
                where = f"typeof({column}) = 'text' AND instr({column}, ?) > 0"
                if connection.execute(f"SELECT 1 FROM {table} WHERE {where} LIMIT 1", [sign]).fetchone() is None:
                    continue
                found = True
                if not dry_run:
                    connection.execute(f"UPDATE {table} SET {column} = {expression} WHERE {where}", [*values, sign])
        if not dry_run and found:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return found


def scrub_text(text: str, subject: Subject) -> str:
    """A text without the clips."""
    for old, new in replacements(subject).items():
        text = text.replace(old, new)
    return text


def names_a_clip(column: str) -> bool:
    """Whether a column other than the key holds ids of clips."""
    return column == "duplicate_of" or (
        column != "clip_id" and "clip" in column and not column.startswith(("clip_root", "clip_shard", "clip_list"))
    )


def _rename(frame: pl.DataFrame, subject: Subject) -> pl.DataFrame:
    names = {clip: pseudonym(clip) for clip in subject.clip_ids} | subject.renamed
    inside = replacements(subject)
    changed = []
    for name, dtype in frame.schema.items():
        if dtype == pl.String:
            exact = pl.col(name).replace(names)
            changed.append(exact.str.replace_many(list(inside), list(inside.values())) if inside else exact)
        elif holds_text(dtype):
            values = [_without(value, names, inside) for value in frame[name].to_list()]
            changed.append(pl.lit(pl.Series(name, values, dtype)))
    return frame.with_columns(changed)


def holds_text(dtype: Any) -> bool:
    """Whether values of this type hold text, however deep."""
    if isinstance(dtype, pl.List):
        return holds_text(dtype.inner)
    if isinstance(dtype, pl.Struct):
        return any(holds_text(field.dtype) for field in dtype.fields)
    return dtype == pl.String


def _without(value: Any, names: Mapping[str, str], inside: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_without(part, names, inside) for part in value if not (isinstance(part, dict) and part.get("clip_id") in names)]
    if isinstance(value, dict):
        return {key: _without(part, names, inside) for key, part in value.items()}
    if not isinstance(value, str):
        return value
    for old, new in inside.items():
        value = value.replace(old, new)
    return names.get(value, value)


def _text_columns(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'").fetchall()
    return [
        (_quoted(table), _quoted(column))
        for (table,) in tables
        for _, column, *_ in connection.execute(f"PRAGMA table_info({_quoted(table)})").fetchall()
    ]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
