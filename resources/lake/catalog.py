"""The lake's catalog: a SQLite file inside a local store, or a Postgres database that several homes share.

Belongs here: its address, and opening it. Not here: that store and catalog belong together (`ownership`), tables (`lake`), leases
(`leases`), the copy in the store (`catalog_copy`).
"""

import itertools
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import duckdb

from resources.lake.duckdb_extensions import duckdb_cursor, quoted
from resources.postgres import NOTICING, refusal
from resources.secrets import hide, passwords_of, without_password
from resources.store.file_store import FileStore
from resources.transient_errors import Transient, is_transient

SQLITE_FILE = "catalog.sqlite"
TABLES_FOLDER = "tables"
PATIENCE_S = 60.0  # how long plain tables of the catalog are tried again while others are at them
CONFLICTS = (
    "conflict",
    "database is locked",
    "could not serialize",
    "deadlock detected",
    "duplicate key value",
    "unique constraint",
    # two processes that make the catalog at once
    'ducklake_metadata" already exists',
    "table ducklake_metadata already exists",
    'lafid_catalog" already exists',
    "table lafid_catalog already exists",
    'lafid_cluster" already exists',
    "table lafid_cluster already exists",
)
LOST_CONNECTIONS = (
    "server closed the connection",
    "terminating connection",
    "connection to server",
    "no connection to the server",
    "connection not open",
    "ssl connection has been closed",
    "the database system is",
    "could not receive data from server",
    "could not send data to server",
    'failed to execute query "rollback"',
    'catalog "lake_',  # another thread found the server lost, and let go of it
)
DAMAGED = ("file is not a database", "malformed")
_STATEMENTS = re.compile(r'Failed to execute query ".*": (?=ERROR|FATAL)')
_numbers = itertools.count()
Found = TypeVar("Found")


class CatalogUnusable(OSError):
    """The catalog is missing, another store's, or does not answer; the message names it and the remedy."""


class CatalogBusy(CatalogUnusable, Transient):
    """Others are at the catalog, and stay there for long."""


class CatalogAway(CatalogUnusable, Transient):
    """The catalog's server does not answer; it may come back."""


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
            CatalogUnusable: the store is remote and no address is given, or the address is not Postgres's, or cannot be read.
        """
        if address:
            if not address.startswith(("postgresql://", "postgres://")):
                raise CatalogUnusable(f"LAFID_CATALOG is {address.split(':')[0]}:...: set it to postgresql://user@host/database")
            told = address.split("://", 1)[1]
            if set("@/") & set(
                told.split("?")[0].rpartition("@")[0]
            ):  # Postgres would take the rest of the password for its host
                raise CatalogUnusable("user or password in LAFID_CATALOG hold an @ or a /: write %40 or %2F in its place")
            return cls("postgresql://" + told)
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
        """The URL for SQLAlchemy, with its driver."""
        return self.url.replace("postgresql://", "postgresql+psycopg2://", 1)

    @property
    def address(self) -> str:
        """What DuckDB's ATTACH takes: a path, or a URL with what it takes to notice a lost server."""
        if self.sqlite_path is not None:
            return str(self.sqlite_path)
        options = "&".join(f"{name}={value}" for name, value in NOTICING.items() if f"{name}=" not in self.url)
        return f"{self.url}{'&' if '?' in self.url else '?'}{options}"

    @property
    def kind(self) -> str:
        """DuckDB's name of the database: `sqlite` or `postgres`."""
        return "postgres" if self.sqlite_path is None else "sqlite"

    @property
    def extensions(self) -> tuple[str, ...]:
        """What DuckDB needs for it."""
        return ("ducklake", f"{self.kind}_scanner")

    def __str__(self) -> str:
        """The address without its password."""
        return without_password(self.url)

    def without_password(self, message: object) -> str:
        """A message of a database as it may be shown, in one line: without the statements that it failed at, which are long."""
        shown = _STATEMENTS.sub("", " ".join(str(message).split())).replace(self.address, str(self)).replace(self.url, str(self))
        return hide(shown, passwords_of(self.url))

    def refused(self, said: str) -> "CatalogUnusable | None":
        """What it means that the catalog's server took no write; None where it says something else."""
        why = refusal(said)
        if why is None:
            return None
        return CatalogUnusable(f"the catalog {self} takes no writes, {why}; then run it again: what was written before is whole")

    @contextmanager
    def opened(self, *, writing: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """A transaction on the catalog's database as it is: the lake's own tables, and plain ones beside them.

        Everything goes through DuckDB, never through Python's own SQLite: two copies of SQLite in one process undo each other's
        locks on a file and destroy it.

        Raises:
            CatalogUnusable: the database does not answer.
            CatalogBusy: others are at it.
        """
        cursor, name = duckdb_cursor(self.extensions), f"catalog_{next(_numbers)}"
        path = self.sqlite_path
        options = [f"TYPE {self.kind}"]
        if not writing:
            options.append("READ_ONLY")
        elif path is not None:
            options.append("JOURNAL_MODE 'WAL'")  # readers and a writer at once; the mode stays with the file
            make_folder(path.parent)
        try:
            cursor.execute(f"ATTACH {quoted(self.address)} AS {name} ({', '.join(options)})")
            cursor.execute(f"USE {name}")
            cursor.execute("BEGIN")
            yield cursor
            cursor.execute("COMMIT")
        except duckdb.Error as error:
            raise self._unusable(error) from None  # not chained: the database's own words hold the password
        finally:
            for statement in ("ROLLBACK", "USE memory", f"DETACH {name}"):
                with suppress(duckdb.Error):
                    cursor.execute(statement)
            cursor.close()

    def holds_tables(self) -> bool:
        """Whether a lake's tables have been made in it; they come all at once."""
        if self.sqlite_path is not None and not self.sqlite_path.is_file():
            return False
        with self.opened() as cursor, suppress(duckdb.CatalogException):
            return bool(cursor.execute("SELECT 1 FROM ducklake_table LIMIT 1").fetchall())
        return False

    def _unusable(self, error: duckdb.Error) -> CatalogUnusable:
        said = self.without_password(error)
        if (refused := self.refused(said)) is not None:
            return refused
        if is_conflict(error):
            return CatalogBusy(f"the catalog {self} stays busy ({said}): try again when other runs are done")
        if any(sign in said for sign in DAMAGED):
            return CatalogUnusable(
                f"the catalog {self} is damaged ({said}): move it away and run `lafid rebuild`, which makes it anew "
                "from the copy in the store"
            )
        kind = CatalogAway if is_transient(error) else CatalogUnusable
        return kind(f"the catalog {self} does not answer ({said}): see that it is there and can be written")


def is_conflict(error: duckdb.Error) -> bool:
    """Whether another transaction was in the way, so that the same one may succeed later."""
    said = str(error).lower()
    return any(sign in said for sign in CONFLICTS)


def is_lost_connection(error: duckdb.Error) -> bool:
    """Whether the catalog's server went away; it may come back."""
    said = str(error).lower()
    return any(sign in said for sign in LOST_CONNECTIONS)


def agreed(
    catalog: Catalog, read: Callable[[Catalog], Found | None], write: Callable[[duckdb.DuckDBPyConnection], None]
) -> Found:
    """What the catalog says, written where it says nothing yet: of several who come at once, the first one's stands."""
    give_up = time.monotonic() + PATIENCE_S
    while (there := read(catalog)) is None:
        try:
            with catalog.opened(writing=True) as cursor:
                write(cursor)
        except CatalogBusy:
            if time.monotonic() > give_up:
                raise
            time.sleep(random.uniform(0.02, 0.2))
    return there


def make_folder(folder: Path) -> None:
    """Make the folder of a record or of a catalog in a file.

    Raises:
        CatalogUnusable: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CatalogUnusable(f"cannot make {folder} ({error.strerror}): make it writable, or choose another place") from error
