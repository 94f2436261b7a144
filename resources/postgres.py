"""What a Postgres server says of itself: which database it is, what time it has, whether it takes writes.

Belongs here: those questions, of the catalog's server and of Dagster's alike, and the words in which Postgres refuses a write.
Not here: what lies in a database (`catalog`, `table`, Dagster). SQLAlchemy is imported where it is used: it takes a while.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resources.secrets import hide, passwords_of, without_password
from resources.transient_errors import Transient

if TYPE_CHECKING:
    import sqlalchemy as sa

# Seconds, and milliseconds for the last: a server whose machine is gone is noticed well within a lease's time to live.
NOTICING = {
    "connect_timeout": 10,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 15_000,
}
_REFUSALS = (
    # Paths as the server has them: they tell its disk from one of this machine.
    (re.compile(r'"(base|global|pg_\w+)/[^"]*": No space left on device'), "its disk is full: free some space there"),
    (
        re.compile(r"in a read-only transaction|recovery is in progress"),
        "it is a standby, or was made read-only: name the server that takes writes, or make this one take them",
    ),
    (re.compile(r"permission denied for"), "its user may not write there: make the user the database's owner"),
)


class PostgresUnusable(OSError):
    """A server does not take what it is asked; the message names it and the remedy."""


class PostgresAway(PostgresUnusable, Transient):
    """A server does not answer; it may come back."""


@dataclass(frozen=True)
class Facts:
    """What a database says of itself.

    Attributes:
        identity: the same by whatever name the server is reached, and another one for each database.
        ahead_s: how far this machine's clock is before the server's, in seconds; below 0: behind.
    """

    identity: str
    ahead_s: float


def refusal(said: str) -> str | None:
    """Why a server took no write, and what to do, by its own words; None where they say something else."""
    return next((why for words, why in _REFUSALS if words.search(said)), None)


def facts(url: str) -> Facts:
    """Ask a database what it is.

    Raises:
        PostgresUnusable: it refuses.
        PostgresAway: it does not answer.
    """
    question = (
        "SELECT (SELECT system_identifier FROM pg_control_system()), oid, extract(epoch FROM clock_timestamp()) "
        "FROM pg_database WHERE datname = current_database()"
    )
    with _asking(url) as connection:
        connection.exec_driver_sql("SELECT 1")  # the connection's own time is none of the clock's
        before = time.time()
        system, database, there = connection.exec_driver_sql(question).one()
        return Facts(f"{system}/{database}", (before + time.time()) / 2 - float(there))


def refuse_unwritable(url: str) -> None:
    """See that a database takes writes: a table is made, filled and undone; nothing of it stays.

    Raises:
        PostgresUnusable: it takes none.
        PostgresAway: it does not answer.
    """
    with _asking(url) as connection:
        connection.exec_driver_sql("CREATE TABLE lafid_doctor AS SELECT repeat('x', 1000) FROM generate_series(1, 100)")
        connection.rollback()


def one_value(url: str, question: str) -> str | None:
    """The first value that a question gives; None where it gives no row, or a table that it names is not there.

    Raises:
        PostgresUnusable: the server refuses.
        PostgresAway: it does not answer.
    """
    import sqlalchemy as sa

    with _asking(url) as connection:
        try:
            found = connection.exec_driver_sql(question).first()
        except sa.exc.ProgrammingError as error:
            if getattr(error.orig, "pgcode", "") == "42P01":  # there is no such table
                return None
            raise
        return None if found is None else str(found[0])


@contextmanager
def _asking(url: str) -> Iterator["sa.Connection"]:
    import sqlalchemy as sa

    try:
        named = sa.make_url(url).set(drivername="postgresql+psycopg2")
    except sa.exc.ArgumentError:  # whose words may hold a piece of a password
        raise PostgresUnusable("an address of Postgres is no URL: write it as postgresql://user@host/database") from None
    engine = sa.create_engine(named, poolclass=sa.NullPool, connect_args={**NOTICING, "application_name": "lafid"})
    try:
        with engine.connect() as connection:
            yield connection
    except sa.exc.SQLAlchemyError as error:
        raise _told(url, error) from None  # its words may hold the password
    finally:
        engine.dispose()


def _told(url: str, error: "sa.exc.SQLAlchemyError") -> PostgresUnusable:
    words = str(getattr(error, "orig", None) or error)
    said = hide(" ".join(words.split()), passwords_of(url)).split(" Is the server running")[0]
    address = without_password(url.replace("+psycopg2", ""))
    if (why := refusal(said)) is not None:
        return PostgresUnusable(f"the database {address} takes no writes, {why}")
    if type(error).__name__ == "OperationalError":
        return PostgresAway(f"the database {address} does not answer ({said}): start it, or correct its address")
    return PostgresUnusable(f"the database {address} cannot be asked ({said}): see its log, or correct its address")
