"""The lake's catalog: a SQLite file inside a local store, or a Postgres database that several homes share.

Belongs here: its address, and that store and catalog belong together. Not here: tables (`lake`), leases (`leases`), the copy in
the store (`catalog_copy`).
"""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from model.files import whole_file
from resources.file_store import FileStore

if TYPE_CHECKING:
    import sqlalchemy

SQLITE_FILE = "catalog.sqlite"
RECORD = "lake.json"
TABLES_FOLDER = "tables"
HOME_RECORD = "home.json"


class CatalogUnusable(OSError):
    """The catalog is missing, another store's, or does not answer; the message names it and the remedy."""


@dataclass(frozen=True)
class Catalog:
    """Where the catalog is.

    Attributes:
        url: `sqlite:////path/catalog.sqlite` or `postgresql://user@host/database`.
    """

    url: str

    @classmethod
    def of(cls, store: FileStore, address: str | None) -> "Catalog":
        """The catalog at `address`, or beside a local store's tables where there is none.

        Raises:
            CatalogUnusable: the store is remote and no address is given, or the address is not Postgres's.
        """
        if address:
            if not address.startswith(("postgresql://", "postgres://")):
                raise CatalogUnusable(f"LAFID_CATALOG is {address.split(':')[0]}:...: set it to postgresql://user@host/database")
            return cls("postgresql://" + address.split("://", 1)[1])
        if not store.is_local:
            raise CatalogUnusable(
                f"the store {store.uri} is remote, and its tables need a catalog that every machine reaches: "
                "set LAFID_CATALOG=postgresql://user@host/database"
            )
        return cls(f"sqlite:///{store.local_path(SQLITE_FILE)}")

    @property
    def sqlite_path(self) -> Path | None:
        """The file, where it is one."""
        return Path(self.url.removeprefix("sqlite:///")) if self.url.startswith("sqlite:") else None

    @property
    def sqlalchemy_url(self) -> str:
        """As SQLAlchemy takes it, the driver named."""
        return self.url.replace("postgresql://", "postgresql+psycopg2://", 1)

    @property
    def ducklake_uri(self) -> str:
        """As DuckDB's ATTACH takes it."""
        path = self.sqlite_path
        return f"ducklake:postgres:{self.url}" if path is None else f"ducklake:sqlite:{path}"

    @property
    def extensions(self) -> tuple[str, ...]:
        """What DuckDB needs for it."""
        return ("ducklake", "postgres_scanner" if self.sqlite_path is None else "sqlite_scanner")

    def __str__(self) -> str:
        """The address without its password."""
        parts = urlsplit(self.url)
        if parts.password is None:
            return self.url
        return urlunsplit(parts._replace(netloc=f"{parts.username}:***@{parts.netloc.rpartition('@')[2]}"))

    def without_password(self, message: str) -> str:
        """A message of a database as it may be shown."""
        password = urlsplit(self.url).password
        shown = message.replace(self.url, str(self))
        return shown.replace(password, "***") if password else shown

    @contextmanager
    def transaction(self) -> Iterator["sqlalchemy.Connection"]:
        """A transaction on the plain tables beside the lake's own; a SQLite file is made where there is none.

        Raises:
            CatalogUnusable: the database does not answer.
        """
        import sqlalchemy

        engine = sqlalchemy.create_engine(self.sqlalchemy_url, poolclass=sqlalchemy.NullPool, connect_args=self._connect_args)
        try:
            if (path := self.sqlite_path) is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            with engine.begin() as connection:
                if self.sqlite_path is not None:
                    # Readers and a writer at once; the mode stays with the file.
                    connection.exec_driver_sql("PRAGMA journal_mode=WAL")
                yield connection
        except (sqlalchemy.exc.DBAPIError, OSError) as error:
            said = self.without_password(" ".join(str(getattr(error, "orig", error)).split()))
            raise CatalogUnusable(
                f"the catalog {self} does not answer ({said}): see that it is there and can be written"
            ) from error
        finally:
            engine.dispose()

    @property
    def _connect_args(self) -> dict[str, int]:
        return {"connect_timeout": 10} if self.sqlite_path is None else {"timeout": 60}


def join(catalog: Catalog, store: FileStore, home: Path, *, writing: bool) -> bool:
    """See that store and catalog belong together; both write down the catalog's id when the lake is made.

    The catalog is the arbiter: whoever comes first names it, and everyone else compares.

    Args:
        home: the home that works on the store: a catalog in a file serves one home only.
        writing: whether a lake may be made.

    Returns:
        whether there is a lake; never False when `writing`.

    Raises:
        CatalogUnusable: the catalog is missing, does not answer or is another store's, or the store is another home's.
    """
    recorded: dict[str, str] | None = json.loads(store.read_bytes(RECORD)) if store.exists(RECORD) else None
    named = _named(catalog, store, make=writing and recorded is None and not _has_tables(store))
    if named is None:
        if recorded is None and not _has_tables(store):
            return False
        raise CatalogUnusable(
            f"the store {store.uri} holds tables, but their catalog {catalog} is missing or empty: put it back, or run "
            "`lafid rebuild`, which makes it anew from the copy in the store"
        )
    catalog_id, its_store = named
    if (recorded is None and its_store != store.uri) or (recorded is not None and recorded["catalog"] != catalog_id):
        raise CatalogUnusable(
            f"the catalog {catalog} belongs to the store {its_store}, not to {store.uri}: "
            "set LAFID_CATALOG or LAFID_STORE so that they belong together"
        )
    if catalog.sqlite_path is not None and recorded is not None and recorded["home"] != home_id(home):
        raise CatalogUnusable(
            f"the store {store.uri} is another home's ({recorded['home'][:8]}) and has its catalog in a file, "
            "which serves one home: set LAFID_CATALOG=postgresql://user@host/database for several, "
            "or run `lafid rebuild` to take the store over"
        )
    if recorded is None and writing:
        record(catalog_id, store, home)
    return True


def record(catalog_id: str, store: FileStore, home: Path) -> None:
    """Write down in the store which catalog knows its tables, and which home works on it."""
    store.write_bytes(RECORD, json.dumps({"catalog": catalog_id, "home": home_id(home)}).encode())


def home_id(home: Path) -> str:
    """What tells this home from others, wherever it is moved."""
    path = home / HOME_RECORD
    if not path.is_file():
        home.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps({"home": uuid.uuid4().hex}))
    return str(json.loads(path.read_text())["home"])


def _has_tables(store: FileStore) -> bool:
    return bool(store.list_tree(TABLES_FOLDER))


def _named(catalog: Catalog, store: FileStore, *, make: bool) -> tuple[str, str] | None:
    """The id of the catalog and the address of its store when it was made; None where it has none and none is made."""
    import sqlalchemy

    if not make and catalog.sqlite_path is not None and not catalog.sqlite_path.is_file():
        return None
    with catalog.transaction() as connection:
        if make:
            connection.execute(
                sqlalchemy.text(
                    "CREATE TABLE IF NOT EXISTS lafid_catalog (one INTEGER PRIMARY KEY, id TEXT NOT NULL, store TEXT NOT NULL)"
                )
            )
            connection.execute(
                sqlalchemy.text("INSERT INTO lafid_catalog VALUES (1, :id, :store) ON CONFLICT DO NOTHING"),
                {"id": uuid.uuid4().hex, "store": store.uri},
            )
        elif not sqlalchemy.inspect(connection).has_table("lafid_catalog"):
            return None
        row = connection.execute(sqlalchemy.text("SELECT id, store FROM lafid_catalog")).one_or_none()
    return None if row is None else (str(row.id), str(row.store))
