"""Keeping the lake quick and small: small files are merged, deleted rows and old snapshots dropped, unneeded files removed.

Belongs here: compaction, and when a writer does it by the way. Not here: the lake itself (`lake`), the catalog's copy
(`catalog_copy`).

All of it may run beside readers and writers. What a transaction reads is kept for longer than it may take; a writer that meets a
compaction begins again. What rows mean never depends on a snapshot: kept dataset versions are
rows. Only `drop_all_history` wants to be alone.
"""

import logging
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import duckdb

from resources.lake import catalog_copy
from resources.lake.catalog import TABLES_FOLDER, Catalog
from resources.lake.connection import LakeUnusable
from resources.lake.duckdb_extensions import literal, quoted
from resources.lake.reader import KEPT_S, TooSlow
from resources.lake.tables import file_bytes
from resources.leases.leases import StoreBusy

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from resources.lake.lake import Lake
    from resources.lake.writer import Writer

LOGGER = logging.getLogger("lafid.lake")
LEASE = "compact"
EVERY = 300
"""Commits of all processes between two compactions."""
ORPHAN_S = 86_400.0
"""How old a file must be that no snapshot names, to be one that a killed writer left."""
SMALL_SHARE = 0.5
"""Files that are smaller than this share of what they may grow to are merged, again and again; larger ones are let be."""
DELETED_SHARE = 0.3
"""A file is written anew when so many of its rows are deleted."""
BUSY_S = 60
"""How long others that use the catalog are waited for when it is made anew."""
NOTHING_S = -86_400.0
"""Kept of history when all of it goes: clocks of machines differ."""
INLINED_ROWS = 2_000
"""So many rows of a table may lie in the catalog itself."""


@dataclass(frozen=True)
class Held:
    """What the lake holds: data files and their bytes, of the newest snapshot, and snapshots."""

    files: int
    bytes: int
    snapshots: int


@dataclass(frozen=True)
class Compacted:
    """What a compaction did.

    Attributes:
        removed: files that are gone from the store, of old snapshots and of killed writers.
        busy: tables that others kept changing meanwhile; the next compaction does them.
    """

    before: Held
    after: Held
    removed: int
    busy: tuple[str, ...]


def compact(lake: "Lake", *, kept_s: float = KEPT_S, orphan_s: float = ORPHAN_S) -> Compacted:
    """Compact all tables; waits while another process does.

    Args:
        kept_s: how long older snapshots and their files are kept. Nobody else may be reading when it is 0.
        orphan_s: how old files are that no snapshot names. Nobody else may be writing when it is 0.

    Raises:
        LakeUnusable: the lake cannot be read or written.
    """
    with lake.leases.at_work(LEASE), lake.leases.held(LEASE):
        return _compact(lake, kept_s, orphan_s)


def compact_by_the_way(lake: "Lake") -> None:
    """Compact unless another process is at it or was lately; a failure costs nothing but the compaction.

    The caller's own commit has succeeded: what the compaction lacks, such as memory or time, is no fault of it.
    """
    try:
        with lake.leases.held(LEASE, wait=False):
            if not _was_lately(lake):
                _compact(lake, KEPT_S, ORPHAN_S)
    except StoreBusy:
        return
    except (OSError, MemoryError, duckdb.Error, TooSlow) as error:
        LOGGER.warning("the lake is not compacted this time: %s", error)


def held(lake: "Lake") -> Held:
    """What the lake holds now."""
    with lake.snapshot() as reader:
        files, size = reader.cursor.execute(
            f"SELECT count(*), coalesce(sum(file_size_bytes), 0)::BIGINT FROM {reader.catalog}.ducklake_data_file "
            "WHERE end_snapshot IS NULL"
        ).fetchall()[0]
        [(snapshots,)] = reader.cursor.execute(f"SELECT count(*) FROM {reader.catalog}.ducklake_snapshot").fetchall()
    return Held(files, size, snapshots)


def expire(lake: "Lake", kept_s: float) -> None:
    """Drop the snapshots that newer ones replaced so long ago; their files are removed later.

    A snapshot may be old and still have readers, when nothing was written since. The time of a snapshot is that at which its
    transaction began.
    """

    def change(writer: "Writer") -> None:
        rows = writer.cursor.execute(
            "SELECT snapshot_id FROM (SELECT snapshot_id, lead(snapshot_time) OVER (ORDER BY snapshot_id) AS replaced "
            f"FROM {writer.catalog}.ducklake_snapshot) WHERE replaced::TIMESTAMPTZ <= {_ago(kept_s)}"
        ).fetchall()
        if rows:
            # Named one by one: DuckLake compares times as text where the catalog is SQLite, and finds all of today too old.
            numbers = ", ".join(str(number) for (number,) in rows)
            writer.cursor.execute(f"CALL ducklake_expire_snapshots('{writer.name}', versions => [{numbers}])")

    lake.commit(change)


def remove_unneeded_files(lake: "Lake", *, kept_s: float, orphan_s: float) -> int:
    """Remove files of snapshots that were dropped, and those that no snapshot ever named; how many."""
    there = lake.store.ages(TABLES_FOLDER)  # before the catalog is asked: what is committed meanwhile is young
    with lake.snapshot() as reader:
        names = {
            table: f"SELECT split_part(path, '/', -1) AS name, * FROM {reader.catalog}.ducklake_{table}"
            for table in ("data_file", "delete_file", "files_scheduled_for_deletion")
        }
        old = reader.cursor.execute(
            f"SELECT data_file_id, name FROM ({names['files_scheduled_for_deletion']}) "
            f"WHERE schedule_start::TIMESTAMPTZ <= {_ago(kept_s)}"
        ).fetchall()
        known = reader.cursor.execute(" UNION ".join(f"SELECT name FROM ({files})" for files in names.values())).fetchall()
    named, unneeded = {name for (name,) in known}, {name for _, name in old}
    doomed = [
        path
        for path, age_s in there.items()
        if (name := path.rsplit("/", 1)[-1]) in unneeded or (name not in named and age_s >= orphan_s)
    ]
    for path in doomed:
        lake.store.remove(path)
    if old:
        numbers = ", ".join(str(number) for number, _ in old)
        where = f"ducklake_files_scheduled_for_deletion WHERE data_file_id IN ({numbers})"
        lake.commit(lambda writer: writer.cursor.execute(f"DELETE FROM {writer.catalog}.{where}"))
    return len(doomed)


def drop_all_history(lake: "Lake", gone: Mapping[str, str]) -> None:
    """Leave nothing of some deleted rows: their files are written without them, old snapshots, their files and the statistics of
    their rows go, and so does what free pages of a catalog in a file still hold.

    Nobody else may be reading or writing.

    Args:
        gone: table to the condition in SQL that these rows meet.

    Raises:
        LakeUnusable: the lake cannot be read or written.
        CatalogUnusable: the catalog is older than its copy.
    """
    catalog_copy.require_newest(lake)
    lake.commit(partial(_call, "CALL ducklake_flush_inlined_data('{}')"))
    for table in lake.commit(partial(_write_anew, gone), all_cores=True):
        lake.commit(partial(_call, f"CALL ducklake_rewrite_data_files('{{}}', {quoted(table)}, delete_threshold => 1.0)"))
    expire(lake, NOTHING_S)
    remove_unneeded_files(lake, kept_s=NOTHING_S, orphan_s=NOTHING_S)
    lake.commit(_measure_anew)
    lake.close()
    _rebuild(lake.catalog)


def _write_anew(gone: Mapping[str, str], writer: "Writer") -> list[str]:
    """Write the files anew that hold deleted rows and such a row: nearly every file of a large lake holds some deleted row.

    Returns:
        tables with such a file of which all rows are deleted: nothing of it can be written anew.
    """
    # A deletion of a few rows would go into the catalog, and its file would stay.
    writer.cursor.execute("SET ducklake_default_data_inlining_row_limit = 0")
    emptied = set()
    holed = writer.cursor.execute(
        f"SELECT DISTINCT table_name FROM {writer.catalog}.ducklake_table tables "
        f"JOIN {writer.catalog}.ducklake_delete_file deletes USING (table_id) "
        "WHERE tables.end_snapshot IS NULL AND deletes.end_snapshot IS NULL"
    ).fetchall()
    for table, where in gone.items():
        if (table,) not in holed:
            continue
        listed = writer.cursor.execute(
            f"SELECT data_file FROM ducklake_list_files('{writer.name}', {quoted(table)}) WHERE delete_file IS NOT NULL"
        ).fetchall()
        for path in (quoted(path) for (path,) in listed):
            # A file that is older than a column lacks it.
            all_rows = f"(SELECT * FROM {table} LIMIT 0) UNION ALL BY NAME (SELECT * FROM read_parquet({path}))"
            if writer.cursor.execute(f"SELECT 1 FROM ({all_rows}) WHERE {where} LIMIT 1").fetchone():
                writer.cursor.execute(f"INSERT INTO {table} SELECT * FROM {table} WHERE filename = {path}")
                if writer.cursor.execute(f"DELETE FROM {table} WHERE filename = {path}").fetchone() == (0,):
                    emptied.add(table)
    writer.cursor.execute("RESET ducklake_default_data_inlining_row_limit")
    return sorted(emptied)


def _measure_anew(writer: "Writer") -> None:
    """Least and greatest values of columns, from those of the files that are left: DuckLake keeps them when a whole file goes.

    A column without values has none; of any other it must be known, or DuckLake takes those of the next file for all.
    """
    catalog = writer.catalog
    # As numbers where they are numbers; 64 bits do not fit into a DOUBLE.
    kinds = {"float": "TRY_CAST({0} AS DOUBLE)", "whole": "TRY_CAST({0} AS HUGEINT)"}
    number = ", ".join(f"'{kind}': CASE WHEN column_type != 'varchar' THEN {cast} END" for kind, cast in kinds.items())
    order = f"{{{{{number}, 'text': {{0}}}}}}"
    least, greatest = (f"arg_{kind}({kind}_value, {order.format(f'{kind}_value')})" for kind in ("min", "max"))
    changed = writer.cursor.execute(
        f"""
        WITH live AS (SELECT table_id, data_file_id FROM {catalog}.ducklake_data_file WHERE end_snapshot IS NULL),
        columns AS (SELECT table_id, column_id, column_type FROM {catalog}.ducklake_column WHERE end_snapshot IS NULL),
        measured AS (
            SELECT table_id, column_id, count(*) AS files, {least} AS least, {greatest} AS greatest,
                bool_and(value_count = 0 OR (min_value IS NOT NULL AND max_value IS NOT NULL)) AS known
            FROM {catalog}.ducklake_file_column_stats JOIN live USING (table_id, data_file_id)
            JOIN columns USING (table_id, column_id)
            GROUP BY table_id, column_id
        )
        SELECT table_id, column_id, least, greatest
        FROM {catalog}.ducklake_table_column_stats
        LEFT JOIN (SELECT table_id, count(*) AS there FROM live GROUP BY table_id) USING (table_id)
        LEFT JOIN measured USING (table_id, column_id)
        WHERE (there IS NULL OR (known AND files = there)) AND (min_value, max_value) IS DISTINCT FROM (least, greatest)
        """
    ).fetchall()
    for table_id, column_id, *values in changed:
        lowest, highest = map(literal, values)
        writer.cursor.execute(
            f"UPDATE {catalog}.ducklake_table_column_stats SET min_value = {lowest}, max_value = {highest} "
            f"WHERE table_id = {table_id} AND column_id = {column_id}"
        )
    # Processes that have the lake open remember statistics by this number, and would write them again.
    writer.cursor.execute(f"UPDATE {catalog}.ducklake_snapshot SET next_file_id = next_file_id + 1")


def _rebuild(catalog: Catalog) -> None:
    """Make the catalog's tables anew without what free pages hold of removed rows."""
    try:
        if catalog.sqlite_path is not None:
            # A process of its own: two libraries of SQLite must not have one file open in one process.
            command = [sys.executable, "-I", "-c", REBUILD_SQLITE, str(catalog.sqlite_path)]
            subprocess.run(command, capture_output=True, text=True, check=True)
        else:
            _rebuild_postgres(catalog)
    except (subprocess.CalledProcessError, OSError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().rpartition("\n")[2]
        raise LakeUnusable(
            f"the catalog {catalog} cannot be made anew without what was removed ({catalog.without_password(said)}): "
            "end what uses it or free some space, then run the command again"
        ) from None


REBUILD_SQLITE = f"""
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout={BUSY_S}, isolation_level=None)
connection.execute("VACUUM")
busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
connection.close()
sys.exit("its log stays in use" if busy else 0)
"""


def _rebuild_postgres(catalog: Catalog) -> None:
    from sqlalchemy import create_engine
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.pool import NullPool

    engine = create_engine(catalog.sqlalchemy_url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"SET lock_timeout = '{BUSY_S}s'")
            for table, columns in connection.exec_driver_sql(_DUCKLAKES_TABLES).fetchall():
                # Of an empty table ANALYZE lets the old statistics be.
                connection.exec_driver_sql(f"ALTER TABLE {table} {columns}")
                _write_anew_on_server(connection, table)
            _write_anew_on_server(connection, "pg_statistic")
    except DBAPIError as error:
        raise OSError(str(error.orig)) from None


_DUCKLAKES_TABLES = """
    SELECT attrelid::regclass::text,
        string_agg(concat('ALTER COLUMN ', quote_ident(attname), ' TYPE ', format_type(atttypid, atttypmod)), ', ')
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    WHERE relkind = 'r' AND relnamespace = current_schema()::text::regnamespace AND starts_with(relname, 'ducklake_')
        AND attnum > 0 AND NOT attisdropped
    GROUP BY attrelid
"""
"""Each with what drops the statistics of all its columns, the commonest values among them."""


def _write_anew_on_server(connection: "Connection", table: str) -> None:
    """
    Raises:
        OSError: the server has left it as it is, of which it only warns.
    """
    file = f"SELECT pg_relation_filenode('{table}')"
    before = connection.exec_driver_sql(file).scalar_one()
    connection.exec_driver_sql(f"VACUUM (FULL, ANALYZE) {table}")
    if connection.exec_driver_sql(file).scalar_one() == before:
        raise OSError(f"its user may not write {table} anew: make the user the database's owner")


def _compact(lake: "Lake", kept_s: float, orphan_s: float) -> Compacted:
    before, busy = held(lake), []
    for table, function, option in _needed(lake):
        call = f"CALL ducklake_{function}('{{}}', {option.format(quoted(table))})"
        try:
            lake.commit(partial(_call, call))
        except LakeUnusable as error:
            LOGGER.warning("%s is not compacted this time: %s", table, error)
            busy.append(table)
    expire(lake, kept_s)
    catalog_copy.copy(lake)  # the last one names files that go now
    removed = remove_unneeded_files(lake, kept_s=kept_s, orphan_s=orphan_s)
    done = Compacted(before, held(lake), removed, tuple(dict.fromkeys(busy)))
    LOGGER.info("compacted: %d data files, now %d; %d files removed", done.before.files, done.after.files, removed)
    return done


def _call(call: str, writer: "Writer") -> None:
    """Call a function of DuckLake that moves rows. With several cores `flush_inlined_data` crashes the process now and then."""
    writer.cursor.execute(call.format(writer.name))


def _needed(lake: "Lake") -> list[tuple[str, str, str]]:
    """Table, function of DuckLake, its arguments: what is worth doing, in the order in which it is done."""
    with lake.snapshot() as reader:
        catalog = reader.catalog
        tables = f"SELECT table_id, table_name FROM {catalog}.ducklake_table WHERE end_snapshot IS NULL"
        files = f"SELECT * FROM {catalog}.ducklake_data_file WHERE end_snapshot IS NULL"
        deletes = f"SELECT data_file_id, delete_count FROM {catalog}.ducklake_delete_file WHERE end_snapshot IS NULL"
        inlined = [
            table
            for table, place in reader.cursor.execute(
                f"SELECT tables.table_name, places.table_name FROM {catalog}.ducklake_inlined_data_tables places "
                f"JOIN ({tables}) tables USING (table_id)"
            ).fetchall()
            if reader.cursor.execute(f"SELECT count(*) > {INLINED_ROWS} FROM {catalog}.{place}").fetchone() == (True,)
        ]
        deleted = reader.cursor.execute(
            f"SELECT DISTINCT table_name FROM ({files}) JOIN ({deletes}) USING (data_file_id) "
            f"JOIN ({tables}) USING (table_id) WHERE delete_count >= {DELETED_SHARE} * record_count"
        ).fetchall()
        sizes = reader.cursor.execute(
            f"SELECT table_name, file_size_bytes FROM ({files}) JOIN ({tables}) USING (table_id) ORDER BY table_name"
        ).fetchall()
    limits = {table: int(SMALL_SHARE * file_bytes(lake.tables.get(table))) for table, _ in sizes}
    counts = Counter(table for table, size in sizes if size < limits[table])
    small = {table: limits[table] for table, count in counts.items() if count > 1}
    return [
        *((table, "flush_inlined_data", "table_name => {}") for table in sorted(set(inlined))),
        *((table, "rewrite_data_files", f"{{}}, delete_threshold => {DELETED_SHARE}") for (table,) in deleted),
        *((table, "merge_adjacent_files", f"{{}}, max_file_size => {limit}") for table, limit in small.items()),
    ]


def _was_lately(lake: "Lake") -> bool:
    with lake.snapshot() as reader:
        done = " OR ".join(f"changes_made LIKE '%{what}%'" for what in ("merge_adjacent", "rewrite_delete", "inline_flush"))
        [(times,)] = reader.cursor.execute(
            f"SELECT count(*) FROM {reader.catalog}.ducklake_snapshot_changes "
            f"WHERE snapshot_id > {reader.snapshot() - EVERY // 2} AND ({done})"
        ).fetchall()
    return bool(times)


def _ago(seconds: float) -> str:
    return f"now() - INTERVAL '{seconds:.3f} seconds'"
