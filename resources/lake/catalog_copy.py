"""The catalog's copy in the store, from which a lost catalog is made anew.

Belongs here: making the copy, making a catalog from it, which of the two is newer. Not here: when a copy is made (refresh,
compaction), what is lost since (`catalog_losses`), what a catalog is (`catalog`).

The copy is one DuckDB file with the rows of all tables of DuckLake, as they were at one moment. A new catalog gets its tables
from DuckLake itself, because writers that meet are told apart by primary keys, and then the copy's rows.
"""

import itertools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from resources.lake.catalog import SQLITE_FILE, Catalog, CatalogUnusable
from resources.lake.catalog_losses import Restored as Restored
from resources.lake.catalog_losses import compared
from resources.lake.duckdb_extensions import duckdb_cursor, quoted
from resources.lake.ownership import Name, home_id, join, read_name, read_record, record, write_name
from resources.lake.tables import PARTITIONS
from resources.store.file_store import FileStore

if TYPE_CHECKING:
    from resources.lake.lake import Lake

COPY = "catalog/catalog.duckdb"
_NAME = "lafid_catalog"
_FACTS = "lafid_copy"
_numbers = itertools.count()


def copy(lake: "Lake") -> None:
    """Write the catalog as it is at this moment into the store, whole or not at all; nothing where there is no lake yet.

    Raises:
        CatalogUnusable: the catalog cannot be read, is another store's, or is older than the last copy.
        StoreUnusable: the copy cannot be written; the last one is still there.
    """
    if not lake.is_there():
        return
    require_newest(lake)
    # One after the other, so that an older copy never takes a newer one's place.
    with lake.leases.held("catalog copy"), tempfile.TemporaryDirectory(prefix="lafid-") as folder:
        path = Path(folder) / "copy.duckdb"
        facts = f"{quoted(lake.catalog.kind)} AS kind, {quoted(datetime.now(UTC).isoformat(' ', 'seconds'))} AS made_at"
        try:
            # The lake's own transaction keeps writers off where the catalog is SQLite.
            with lake.snapshot(), _attached(path) as copied, lake.catalog.opened() as cursor:
                for table in _tables(cursor):
                    cursor.execute(f"CREATE TABLE {copied}.{table} AS FROM {table}")
                cursor.execute(f"CREATE TABLE {copied}.{_FACTS} AS SELECT {facts}")
        except duckdb.Error as error:
            raise CatalogUnusable(f"cannot copy the catalog {lake.catalog} to {folder} ({error}): free some space") from None
        lake.store.write_bytes(COPY, path.read_bytes())


def require_newest(lake: "Lake") -> None:
    """See that the catalog knows all files: to one from an old backup those that were written since are no table's.

    Raises:
        CatalogUnusable: it is older than the copy.
    """
    if _is_outdated(lake):
        raise CatalogUnusable(
            f"the catalog {lake.catalog} is older than its copy in the store, as one from an old backup is: run `lafid rebuild`, "
            "which brings it up to the copy"
        )


def _is_outdated(lake: "Lake") -> bool:
    named = read_name(lake.catalog)
    if named is None or not lake.store.exists(COPY):
        return False
    with lake.snapshot() as reader:
        ours = reader.snapshot()
    with suppress(duckdb.Error), _opened(lake.store) as copied:  # from one that is damaged nothing can be made
        newest = f"SELECT max(snapshot_id) FROM {copied}.ducklake_snapshot, {copied}.{_NAME} WHERE id = {quoted(named.id)}"
        [(theirs,)] = duckdb_cursor(()).execute(newest).fetchall()
        return theirs is not None and theirs > ours
    return False


def restore(lake: "Lake") -> Restored:
    """Make a lost catalog anew from the copy, or one that is older than it; where it is whole and the store another home's, take
    the store over.

    Raises:
        CatalogUnusable: the catalog is whole and this home's, or damaged, or holds other tables; or there is no copy of its kind.
        StoreBusy: others are at work in the store.
    """
    lake.close()
    if read_name(lake.catalog) is None and not lake.store.exists(COPY):
        raise CatalogUnusable(
            f"the store {lake.store.uri} holds no copy of its catalog ({COPY}), from which it could be made anew: "
            "set LAFID_STORE to a new folder and run `lafid curate DIR`"
        )
    with lake.leases.alone("rebuild") as lease:
        named = read_name(lake.catalog)
        if named is None:
            _require_no_tables(lake.catalog)
            done = compared(lake, _make(lake))
        else:
            done = _take_over(lake, named)
        if PARTITIONS not in done.missing:
            # The copy knows older tokens than the lost catalog did: who was thought dead since would pass.
            lake.commit(lambda writer: writer.fence(lease.token))
    return done


def _take_over(lake: "Lake", named: Name) -> Restored:
    recorded = read_record(lake.store)
    held = recorded or {"catalog": "", "home": ""}
    alone = lake.catalog.sqlite_path is not None and held["catalog"] == named.id
    anothers = alone and held["home"] != home_id(lake.home, make=True)
    if anothers:
        record(named.id, lake.store, lake.home)
    join(lake.catalog, lake.store, lake.home, writing=False)
    if _is_outdated(lake):
        lake.close()
        return compared(lake, _make(lake))
    if anothers:
        return Restored(lake.store.uri)
    raise CatalogUnusable(
        f"the catalog {lake.catalog} is whole and belongs to the store {lake.store.uri}: there is nothing to do"
    )


def _make(lake: "Lake") -> str:
    """Make the catalog, in the place of whatever is there; gives the time of the copy."""
    catalog, store = lake.catalog, lake.store
    with tempfile.TemporaryDirectory(prefix="lafid-") as folder:
        file = Path(folder) / SQLITE_FILE
        made = catalog if catalog.sqlite_path is None else Catalog(f"sqlite:///{file}")
        try:
            with _opened(store) as copied:
                found = f"SELECT kind, made_at, id FROM {copied}.{_FACTS}, {copied}.{_NAME}"
                [(kind, made_at, identity)] = duckdb_cursor(()).execute(found).fetchall()
                if kind != catalog.kind:
                    raise CatalogUnusable(f"{store.uri}/{COPY} is of a catalog in {kind}: set LAFID_CATALOG as it was")
                _begin(made, folder)
                _fill(made, copied, store, identity)
        except duckdb.Error as error:  # not chained: the database's own words hold the password
            said = catalog.without_password(error)
            raise CatalogUnusable(f"cannot make the catalog {catalog} anew from {store.uri}/{COPY} ({said})") from None
        if made is not catalog:
            for left in ("-wal", "-shm", "-journal"):  # of the lost file; SQLite would apply them to the new one
                store.remove(f"{SQLITE_FILE}{left}")
            store.write_bytes(SQLITE_FILE, file.read_bytes())
    record(identity, store, lake.home)
    return str(made_at)


def _require_no_tables(catalog: Catalog) -> None:
    # A restoration that was killed leaves DuckLake's tables behind, without rows.
    if catalog.holds_tables():
        raise CatalogUnusable(
            f"the catalog {catalog} holds tables, but does not say of which store: move it away, or set LAFID_CATALOG to an "
            "empty database, and run `lafid rebuild` again"
        )


def _begin(catalog: Catalog, folder: str) -> None:
    """Let DuckLake make its own tables."""
    cursor, name = duckdb_cursor(catalog.extensions), f"begun_{next(_numbers)}"
    address = quoted(f"ducklake:{catalog.kind}:{catalog.address}")
    cursor.execute(f"ATTACH {address} AS {name} (DATA_PATH {quoted(folder)}, OVERRIDE_DATA_PATH true)")
    cursor.execute(f"DETACH {name}")


def _fill(catalog: Catalog, copied: str, store: FileStore, identity: str) -> None:
    listed = (
        duckdb_cursor(()).execute(f"SELECT table_name FROM duckdb_tables() WHERE database_name = {quoted(copied)}").fetchall()
    )
    with catalog.opened(writing=True) as cursor:
        there, wanted = _tables(cursor), {name for (name,) in listed} - {_NAME, _FACTS}
        for table in sorted(there - wanted - {_NAME}):
            cursor.execute(f"DROP TABLE {table}")
        for table in sorted(wanted):
            if table in there:
                cursor.execute(f"DELETE FROM {table}")
                cursor.execute(f"INSERT INTO {table} BY NAME FROM {copied}.{table}")
            else:
                cursor.execute(f"CREATE TABLE {table} AS FROM {copied}.{table}")
        write_name(cursor, store)
        cursor.execute(f"UPDATE {_NAME} SET id = {quoted(identity)}")


@contextmanager
def _opened(store: FileStore) -> Iterator[str]:
    """The name under which DuckDB knows the store's copy, until the end."""
    with tempfile.TemporaryDirectory(prefix="lafid-") as folder:
        path = Path(folder) / "copy.duckdb"
        path.write_bytes(store.read_bytes(COPY))
        with _attached(path, "(READ_ONLY)") as copied:
            yield copied


@contextmanager
def _attached(path: Path, options: str = "") -> Iterator[str]:
    """The name under which DuckDB knows a file, until the end; what was written lies in the file alone then."""
    cursor, name = duckdb_cursor(()), f"copy_{next(_numbers)}"
    cursor.execute(f"ATTACH {quoted(str(path))} AS {name} {options}")
    try:
        yield name
        if not options:
            cursor.execute(f"CHECKPOINT {name}")
    finally:
        cursor.execute(f"DETACH {name}")


def _tables(cursor: duckdb.DuckDBPyConnection) -> set[str]:
    """Tables of the database in use: DuckLake's, and the one with the catalog's name."""
    return {name for name, *_ in cursor.execute("SHOW TABLES").fetchall() if name.startswith("ducklake_") or name == _NAME}
