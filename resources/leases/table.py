"""The table `lafid_leases` in SQLite or Postgres: one row a lease, changed in transactions that exclude each other.

Belongs here: connections, the clock, and errors of a database that become one line. Not here: when a row's owner counts as dead
(`leases`). SQLAlchemy takes a while to load, so that only what uses a lease imports this module.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError

from resources.leases.leases import LeasesUnusable
from resources.postgres import NOTICING, refusal

Result = TypeVar("Result")
LEASES = sa.Table(
    "lafid_leases",
    sa.MetaData(),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("heartbeat", sa.Double, nullable=False),
)
BUSY_S = 5.0  # how long one statement waits for another transaction
PATIENCE_S = 30.0  # how long one change is tried again while the database is locked
ADVISORY_LOCK = 0x1AF1D  # any number that is LaFID's own in the catalog's database


@dataclass(frozen=True)
class Row:
    """One lease; `owner` is empty while nobody has it, `heartbeat` is in seconds since the epoch by the database's clock."""

    name: str
    token: int
    owner: str
    heartbeat: float


class Rows:
    """The table within one transaction; no other one runs at the same time."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def now(self) -> float:
        """Seconds since the epoch by the clock that all users of the table share."""
        if self._connection.dialect.name == "sqlite":
            return time.time()
        return float(self._connection.scalar(sa.select(sa.extract("epoch", sa.func.clock_timestamp()))) or 0.0)

    def get(self, name: str) -> Row | None:
        """The lease of that name."""
        found = self._connection.execute(sa.select(LEASES).where(LEASES.c.name == name)).one_or_none()
        return None if found is None else Row(*found)

    def below(self, prefix: str) -> list[Row]:
        """All leases whose names begin so, the oldest first."""
        chosen = sa.select(LEASES).where(LEASES.c.name.startswith(prefix, autoescape=True)).order_by(LEASES.c.token)
        return [Row(*found) for found in self._connection.execute(chosen)]

    def taken(self) -> list[Row]:
        """All leases that somebody has, or had when it died."""
        return [Row(*found) for found in self._connection.execute(sa.select(LEASES).where(LEASES.c.owner != ""))]

    def put(self, row: Row) -> None:
        """Write a lease in the place of the one of its name."""
        self.drop(row.name)
        self._connection.execute(sa.insert(LEASES).values(**vars(row)))

    def drop(self, name: str) -> None:
        """Remove a lease; nothing happens when there is none."""
        self._connection.execute(sa.delete(LEASES).where(LEASES.c.name == name))

    def renew(self, row: Row, heartbeat: float) -> bool:
        """Move the heartbeat of a lease that is still the same owner's; whether it is."""
        same = sa.and_(LEASES.c.name == row.name, LEASES.c.token == row.token, LEASES.c.owner == row.owner)
        return self._connection.execute(sa.update(LEASES).where(same).values(heartbeat=heartbeat)).rowcount == 1

    def free(self, row: Row, *, remove: bool) -> None:
        """Take the owner out of a lease that is still that owner's. The row stays, so that its token goes on rising, unless it is
        to be removed."""
        same = sa.and_(LEASES.c.name == row.name, LEASES.c.owner == row.owner)
        self._connection.execute(sa.delete(LEASES).where(same) if remove else sa.update(LEASES).where(same).values(owner=""))


class LeaseTable:
    """Runs changes of the table, each in a transaction and on a connection of its own. Not for forked children.

    Args:
        url: of the catalog, as SQLAlchemy reads it. The table lies in that database; beside a catalog in SQLite, in a file of
            its own, `<name>-leases.<suffix>`: DuckDB brings its own SQLite, and two copies of SQLite in one process undo each
            other's locks on a file and destroy it.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def run(self, change: Callable[[Rows], Result]) -> Result:
        """Make one change whole or not at all; it is tried again while the database is locked, or when the connection was lost
        before it could be committed.

        Raises:
            LeasesUnusable: the database cannot be reached, read or written, or stays locked.
        """
        give_up = time.monotonic() + PATIENCE_S
        while True:
            made = False
            try:
                with self._engine.begin() as connection:
                    LEASES.create(connection, checkfirst=True)
                    result = change(Rows(connection))
                    made = True
                return result
            except OperationalError as error:
                passes = _passes(error) or (error.connection_invalidated and not made)
                if not passes or time.monotonic() > give_up:
                    raise self._unusable(error) from error
            except (SQLAlchemyError, OSError, ImportError) as error:
                raise self._unusable(error) from error

    @cached_property
    def _engine(self) -> sa.Engine:
        return _opened(self._url)

    def _unusable(self, error: Exception) -> LeasesUnusable:
        told = error.orig if isinstance(error, DBAPIError) else error
        reason = " ".join(str(told).split()).split(" Is the server running")[0]
        address = "of the catalog"
        with contextlib.suppress(SQLAlchemyError):
            url = leases_url(self._url)
            address = url.set(drivername=url.get_backend_name(), query={}).render_as_string(hide_password=True)
            for secret in filter(None, (url.password, url.query.get("password"))):
                reason = reason.replace(str(secret), "***")
        if (why := refusal(reason)) is not None:
            return LeasesUnusable(f"the leases in the database {address} cannot be written: {why}; then run the command again")
        return LeasesUnusable(
            f"the leases in the database {address} cannot be used ({reason}): start the database or make it reachable and "
            "writable, or correct the catalog's address, then run the command again"
        )


def leases_url(catalog: str) -> sa.URL:
    """Where the leases of a catalog lie.

    Raises:
        sqlalchemy.exc.ArgumentError: the address is no URL of a SQLite file or a Postgres database.
    """
    try:
        url = sa.make_url(catalog)
    except (ArgumentError, ValueError):  # whose words may hold a piece of a password
        raise ArgumentError("it is no URL; odd characters of a password are written as %40 for @ and so on") from None
    if url.get_backend_name() in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg2")
    path = Path(url.database or "")
    if url.get_backend_name() != "sqlite" or not path.name:
        raise ArgumentError("it is neither sqlite:////path/to/file nor postgresql://host/database")
    return url.set(database=str(path.with_name(f"{path.stem}-leases{path.suffix}")))


def _opened(catalog: str) -> sa.Engine:
    url = leases_url(catalog)
    if url.get_backend_name() == "postgresql":
        named = {**NOTICING, "application_name": "lafid leases"}
        engine = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="READ COMMITTED", connect_args=named)
        first: tuple[str, ...] = (
            # A client that dies in the middle of a transaction holds everybody up no longer than this.
            f"SET LOCAL idle_in_transaction_session_timeout = {1000 * BUSY_S:.0f}",
            f"SET LOCAL statement_timeout = {1000 * BUSY_S:.0f}",
            f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})",
        )
    else:
        Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
        # The driver would begin a transaction at the first write, after what it had read is old.
        arguments = {"timeout": BUSY_S, "isolation_level": None}
        engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args=arguments)
        first = ("BEGIN IMMEDIATE",)

    @sa.event.listens_for(engine, "begin")
    def begun(connection: sa.Connection) -> None:
        for statement in first:
            connection.exec_driver_sql(statement)

    return engine


def _passes(error: OperationalError) -> bool:
    """Whether another transaction is in the way, which ends."""
    original: Any = error.orig
    busy = getattr(original, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
    return busy or getattr(original, "pgcode", None) == "57014"  # the statement timeout ended the wait for the lock
