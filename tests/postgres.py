"""A plugin of the tests: a throw-away Postgres, where its programs are installed."""

import itertools
import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from resources.lake.duckdb_extensions import duckdb_cursor

PROGRAMS = "usr/lib/postgresql/*/bin"
USER = "lafid"
SPEED = ("-F", "-c", "synchronous_commit=off", "-c", "full_page_writes=off", "-c", "shared_buffers=16MB")
# The server and its folder ($0) go with the process that holds the other end of its standard input, however that one ends.
GUARD = '"$@" & read -r _; kill -INT $!; wait $!; rm -rf -- "$0"'
START_S = 60


@pytest.fixture
def postgres_url(_postgres_server: str) -> Iterator[str]:
    """A fresh database of its own: `postgresql://user@host:port/name`."""
    with fresh_database(_postgres_server, f"lafid_{next(_NUMBERS)}") as address:
        yield address


@contextmanager
def fresh_database(server: str, name: str, tablespace: str = "pg_default") -> Iterator[str]:
    """A database that goes at the end, however that is: `postgresql://user@host:port/name`.

    Raises:
        AssertionError: this process still has a lake open whose catalog it is.
    """
    execute(server, f"CREATE DATABASE {name} TABLESPACE {tablespace}")
    try:
        yield f"{server}/{name}"
    finally:
        left = _left_open(name)
        execute(server, f"DROP DATABASE {name} WITH (FORCE)")
    assert not left, f"{left}: close() the lake: later tests would ask a database that is gone"


def _left_open(name: str) -> list[str]:
    """What this process's DuckDB still holds of a database; it lets go of that."""
    cursor = duckdb_cursor([])
    attached = cursor.execute("SELECT database_name, path FROM duckdb_databases() WHERE NOT internal").fetchall()
    left = [lake for lake, path in attached if path and re.search(rf"\b{name}\b", path)]
    for lake in left:
        cursor.execute(f"DETACH {lake}")
    return left


_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def _postgres_server() -> Iterator[str]:
    programs = newest_programs()
    if programs is None:
        pytest.skip(f"needs Postgres: there is no /{PROGRAMS}")
    # Not pytest's own folder: the path of a Unix socket is short, and the server's user must be able to reach it.
    folder = Path(tempfile.mkdtemp(prefix="lafid-pg-"))
    try:
        with serving(programs, folder) as address:
            yield address
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def newest_programs() -> Path | None:
    """The folder of the newest Postgres that is installed."""
    found = sorted(Path("/").glob(PROGRAMS), key=lambda path: [int(part) for part in path.parent.name.split(".")])
    return found[-1] if found else None


@contextmanager
def serving(programs: Path, folder: Path, listen: str = "127.0.0.1") -> Iterator[str]:
    """A server whose data lie in `folder`, which goes with it: `postgresql://user@host:port`.

    Args:
        listen: the address at which it answers whoever reaches it.
    """
    options: dict[str, Any] = {"cwd": folder}
    if os.geteuid() == 0:  # Postgres refuses to run as root
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        options |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    data, log = folder / "data", folder / "log"
    initialise = [programs / "initdb", "-D", data, "-U", USER, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]
    made = subprocess.run(initialise, capture_output=True, text=True, **options)
    assert made.returncode == 0, made.stderr
    with (data / "pg_hba.conf").open("a") as who_may:
        who_may.write(f"host all all {listen}/24 trust\n")
    with closing(socket.socket()) as probe:
        probe.bind((listen, 0))
        port = str(probe.getsockname()[1])
    serve = [programs / "postgres", "-D", data, "-k", folder, "-p", port, "-c", f"listen_addresses={listen}", *SPEED]
    with log.open("w") as output:
        server = subprocess.Popen(
            ["/bin/sh", "-c", GUARD, folder, *serve], stdin=subprocess.PIPE, stdout=output, stderr=output, **options
        )
    address = f"postgresql://{USER}@{listen}:{port}"
    try:
        _wait(server, address, log)
        yield address
    finally:
        server.communicate()


def _wait(server: "subprocess.Popen[bytes]", address: str, log: Path) -> None:
    import psycopg2

    give_up = time.monotonic() + START_S
    while True:
        try:
            return execute(address, "SELECT 1")
        except psycopg2.OperationalError:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < give_up, log.read_text()
            time.sleep(0.05)


def execute(address: str, statement: str) -> None:
    """Run one statement in the database that every server has."""
    import psycopg2

    with closing(psycopg2.connect(f"{address}/postgres")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
