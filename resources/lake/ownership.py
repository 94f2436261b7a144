"""Store, catalog and home belong together: each of them remembers another, so that none is taken for a different one.

Belongs here: writing that down once, and comparing; refusing a store that is away or a copy. Not here: the catalog's address
(`catalog`), the cluster that works on it (`catalog_cluster`).

The catalog names the store, and the store the catalog and its home. A catalog in a file is away when its store is, so that there
the home remembers both.
"""

import json
import os
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from model.files import write_whole
from resources.lake.catalog import TABLES_FOLDER, Catalog, CatalogUnusable, agreed, make_folder
from resources.lake.duckdb_extensions import quoted
from resources.store.file_store import FileStore

RECORD = "lake.json"
"""Of the store."""
HOME_RECORD = "home.json"


class Name(NamedTuple):
    """What a catalog says of itself.

    Attributes:
        store: where its store was when the catalog was made.
    """

    id: str
    store: str


def join(catalog: Catalog, store: FileStore, home: Path, *, writing: bool) -> bool:
    """See that store and catalog belong together; both write down the catalog's id when the lake is made.

    The catalog is the arbiter: whoever comes first names it, and everyone else compares.

    Args:
        home: the home that works on the store: a catalog in a file serves one home only.
        writing: whether a lake may be made.

    Returns:
        whether there is a lake; never False when `writing`.

    Raises:
        CatalogUnusable: the catalog is missing, does not answer or is another store's; or the store is away, a copy or another
            home's.
    """
    # Before the catalog is asked: another process may begin the lake meanwhile.
    known, recorded = _stores(home), read_record(store)
    has_tables = recorded is not None or bool(store.list_tree(TABLES_FOLDER))
    named = read_name(catalog)
    if named is None:
        if has_tables:
            raise CatalogUnusable(
                f"the store {store.uri} holds tables, but their catalog {catalog} is missing or empty: put it back, or run "
                "`lafid rebuild`, which makes it anew from the copy in the store"
            )
        if catalog.sqlite_path is not None and _place(store) in known.values():
            raise CatalogUnusable(
                f"the store {store.uri} holds no tables, and this home has worked in it: mount its disk or put it back; to begin "
                f"anew, set LAFID_STORE to a new folder, or remove {home / HOME_RECORD}"
            )
        if not writing:
            return False
        named = agreed(catalog, read_name, lambda cursor: write_name(cursor, store))
    _require_same(catalog, named, store, recorded, home)
    if not has_tables and catalog.sqlite_path is None and catalog.holds_tables() and read_record(store) is None:
        # Asked once more: whoever makes the lake meanwhile writes the record before the tables.
        raise CatalogUnusable(
            f"the store {store.uri} holds no tables, and its catalog {catalog} knows some: mount its disk or put it back; "
            "to begin anew, set LAFID_CATALOG to an empty database"
        )
    if catalog.sqlite_path is not None and recorded is not None and recorded["home"] != home_id(home, make=writing):
        raise CatalogUnusable(
            f"the store {store.uri} is another home's ({recorded['home'][:8]}) and has its catalog in a file, "
            "which serves one home: set LAFID_CATALOG=postgresql://user@host/database for several, "
            "or run `lafid rebuild` to take the store over"
        )
    if recorded is None and writing:
        record(named.id, store, home)
    if catalog.sqlite_path is not None and writing:
        _remember(home, named.id, store)
    return True


def record(catalog_id: str, store: FileStore, home: Path) -> None:
    """Write down in the store which catalog knows its tables, and which home works on it."""
    store.write_bytes(RECORD, json.dumps({"catalog": catalog_id, "home": home_id(home, make=True)}).encode())


def read_record(store: FileStore) -> dict[str, str] | None:
    """What `record` wrote: the ids of `catalog` and `home`."""
    if not store.exists(RECORD):
        return None
    found: dict[str, str] = json.loads(store.read_bytes(RECORD))
    return found


def read_name(catalog: Catalog) -> Name | None:
    """What the catalog says of itself; None where there is none."""
    if catalog.sqlite_path is not None and not catalog.sqlite_path.is_file():
        return None
    with catalog.opened() as cursor, suppress(duckdb.CatalogException):
        found = cursor.execute("SELECT id, store FROM lafid_catalog").fetchall()
        return Name(*found[0]) if found else None
    return None


def write_name(cursor: duckdb.DuckDBPyConnection, store: FileStore) -> None:
    """Give the catalog that `cursor` uses an id, unless it has one."""
    cursor.execute("CREATE TABLE IF NOT EXISTS lafid_catalog (one INTEGER PRIMARY KEY, id TEXT NOT NULL, store TEXT NOT NULL)")
    cursor.execute(
        f"INSERT INTO lafid_catalog SELECT 1, {quoted(uuid.uuid4().hex)}, {quoted(_place(store))} "
        "WHERE NOT EXISTS (FROM lafid_catalog)"
    )


def home_id(home: Path, *, make: bool) -> str:
    """What tells this home from others, wherever it is moved; nothing of a home that has none, unless it is to be made."""
    path = home / HOME_RECORD
    if make and not path.is_file():
        make_folder(home)
        mine = home / f".{uuid.uuid4().hex}.{HOME_RECORD}"
        mine.write_text(json.dumps({"home": uuid.uuid4().hex}))
        with suppress(FileExistsError):
            os.link(mine, path)  # of two processes the first one's stands
        mine.unlink()
    return str(_read_home(home).get("home", ""))


def _read_home(home: Path) -> dict[str, Any]:
    path = home / HOME_RECORD
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return found


def _stores(home: Path) -> dict[str, str]:
    """Ids of catalogs in a file to where this home last saw their stores: one that was moved frees its place."""
    return dict(_read_home(home).get("stores", {}))


def _remember(home: Path, catalog_id: str, store: FileStore) -> None:
    known = _stores(home)
    if known.get(catalog_id) != _place(store):
        # Of two processes that write at once the last one's stands; the other's next process writes it again.
        write_whole(home / HOME_RECORD, json.dumps(_read_home(home) | {"stores": known | {catalog_id: _place(store)}}))


def _require_same(catalog: Catalog, named: Name, store: FileStore, recorded: dict[str, str] | None, home: Path) -> None:
    moved = named.store != _place(store)
    # A catalog in a file lies in its store, so that both move together.
    strange = moved and catalog.sqlite_path is None if recorded is None else recorded["catalog"] != named.id
    if strange:
        raise CatalogUnusable(
            f"the catalog {catalog} belongs to the store {named.store}, not to {store.uri}: "
            "set LAFID_CATALOG or LAFID_STORE so that they belong together"
        )
    if moved and catalog.sqlite_path is None:
        _require_moved(catalog, named, store, home)


def _require_moved(catalog: Catalog, named: Name, store: FileStore, home: Path) -> None:
    """Whoever moves a store leaves nothing behind; of a copy the catalog would name files that the store does not hold."""
    try:
        first = FileStore(named.store, home)
        there = read_record(first)
    except OSError as error:
        raise CatalogUnusable(
            f"the catalog {catalog} belongs to the store {named.store}, of which {store.uri} may be a copy: it cannot be looked "
            f"at ({error}): make it reachable; where it was moved for good, `UPDATE lafid_catalog SET store = "
            f"{quoted(_place(store))}` in the catalog's database says so"
        ) from error
    if there is None or there["catalog"] != named.id:
        return
    if not (first.is_local and store.is_local and first.local_path(RECORD).samefile(store.local_path(RECORD))):
        raise CatalogUnusable(
            f"{store.uri} is a copy of the store {named.store}, and the catalog {catalog} belongs to that one: "
            "set LAFID_STORE to it, or remove it when the copy shall take its place"
        )


def _place(store: FileStore) -> str:
    return str(store.local_path("")) if store.is_local else store.uri
