"""The lake as a process has it open: attached once, shared by its threads, opened anew by a forked child or after a lost server.

Belongs here: attaching, beginning and ending transactions, what a DuckDB error means for the user. Not here: what is read and
written in them (`lake`).
"""

import itertools
import os
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import duckdb

from resources.cores import usable_cores
from resources.lake.catalog import TABLES_FOLDER, Catalog, is_conflict, is_lost_connection
from resources.lake.catalog_lock import CatalogInUse, CatalogLock
from resources.lake.duckdb_extensions import cores, duckdb_cursor, quoted
from resources.lake.ownership import join
from resources.lake.tables import LakeTable, begin_statistics, has_tables, prepare_tables
from resources.store.file_store import FileStore
from resources.transient_errors import Transient

NOT_MADE = "creating a new DuckLake is explicitly disabled"
"""What DuckLake says to a reader that comes while another process is about to make the lake."""


class LakeUnusable(OSError):
    """A table cannot be read or written; the message names it and the remedy."""


class LakeBusy(LakeUnusable, Transient):
    """The catalog stays busy or away; it may be free, or back, a little later."""


class Begun(NamedTuple):
    """A transaction that reads the lake as it was after commit number `snapshot`; `name` is the lake's in it. `end` it.

    `alone`: nobody else commits before it has ended, where the catalog needs a lock.
    """

    cursor: duckdb.DuckDBPyConnection
    name: str
    snapshot: int
    lock: ExitStack
    cores: ExitStack
    alone: bool

    def end(self) -> None:
        """Undo what is not committed, and let go of it."""
        with suppress(duckdb.Error):  # there is no transaction any more
            self.cursor.execute("ROLLBACK")
        self.cursor.close()
        self.cores.close()
        self.lock.close()


class Attached(NamedTuple):
    """A connection, and the name under which DuckDB knows the lake."""

    connection: duckdb.DuckDBPyConnection
    name: str


@dataclass
class _Process:
    """What one process has open: a forked child finds its parent's locks taken for ever, and its connection dead."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    attached: Attached | None = None
    joined: bool = False
    access: "S3Access | None" = None


_numbers = itertools.count()


class LakeConnection:
    """Arguments as `Lake` has them."""

    def __init__(self, store: FileStore, catalog: Catalog, home: Path, tables: Sequence[LakeTable], read_only: bool) -> None:
        self._store, self._catalog, self._home = store, catalog, home
        self._tables, self._read_only = list(tables), read_only
        self._lock = CatalogLock(catalog.sqlite_path)
        self._processes: dict[int, _Process] = {}

    @property
    def was_open(self) -> bool:
        """Whether the lake could be reached before, so that a lost server may come back."""
        return self._process.joined

    def begin(self, *, alone: bool = False, all_cores: bool = False) -> Begun:
        """A transaction that reads the lake as it is now.

        Args:
            alone: whether no other one may be under way, where the catalog needs a lock (`catalog_lock`): no conflict, then.
            all_cores: whether it reads so much that they are worth their start; a step of one shard takes twice as long with two.

        Raises:
            LakeUnusable: nothing has been written yet, and nothing may be made; or others do not end.
            CatalogUnusable: catalog and store do not belong together, or the catalog does not answer.
            duckdb.Error: anything else.
        """
        attached = self._open()
        begun = Begun(attached.connection.cursor(), attached.name, 0, self._locked(alone=alone), ExitStack(), alone)
        try:
            begun.cores.enter_context(cores(begun.cursor, usable_cores() if all_cores else 1))
            if (access := self._process.access) is not None:
                access.renew(begun.cursor)
            # In the transaction: before it, DuckLake would begin one for this alone, and ask the catalog twice where it stands.
            begun.cursor.execute("BEGIN")
            begun.cursor.execute(f"USE {attached.name}")
            # The first question fixes the moment, and finds out whether the server is still there.
            [(number,)] = begun.cursor.execute(f"SELECT id FROM ducklake_current_snapshot('{attached.name}')").fetchall()
        except BaseException:
            begun.end()
            raise
        return begun._replace(snapshot=int(number))

    def commit(self, begun: Begun) -> None:
        """Make what the transaction changed visible; nobody reads the catalog meanwhile.

        Raises:
            LakeUnusable: others read and do not end.
            duckdb.Error: a conflict with what others committed since it began, or anything else.
        """
        if begun.alone:
            begun.cursor.execute("COMMIT")
            return
        begun.lock.close()
        with self._locked(alone=True):
            begun.cursor.execute("COMMIT")

    def _locked(self, *, alone: bool) -> ExitStack:
        stack = ExitStack()
        try:
            stack.enter_context(self._lock.held(alone=alone))
        except CatalogInUse:
            raise LakeBusy(f"the catalog {self._catalog} stays in use: try again when other runs are done") from None
        return stack

    def close(self) -> None:
        """Let go of the catalog, also because its server is lost; the next use opens it again."""
        process = self._process
        with process.lock:
            attached, process.attached = process.attached, None
            if attached is not None:
                _detach(attached)

    def told(self, error: duckdb.Error) -> Exception:
        """An error as it may be raised: without passwords, with a remedy where there is one."""
        said = self._catalog.without_password(error)
        if (refused := self._catalog.refused(said)) is not None:
            return refused
        if is_conflict(error) or is_lost_connection(error):
            return LakeBusy(f"the catalog {self._catalog} stays busy or away ({said}): try again when other runs are done")
        if isinstance(error, duckdb.IOException):
            return LakeUnusable(
                f"cannot read or write the tables in {self._store.uri} ({said}): free some space or make it reachable"
            )
        return error if said == " ".join(str(error).split()) else type(error)(said)

    @property
    def _process(self) -> _Process:
        return self._processes.setdefault(os.getpid(), _Process())

    def _open(self) -> Attached:
        process = self._process
        with process.lock:
            if process.attached is None:
                process.attached = self._attach(process)
            return process.attached

    def _attach(self, process: _Process) -> Attached:
        if not process.joined and not join(self._catalog, self._store, self._home, writing=not self._read_only):
            raise self._no_tables()
        remote = () if self._store.is_local else ("httpfs",)
        attached = Attached(duckdb_cursor([*self._catalog.extensions, *remote]), f"lake_{next(_numbers)}")
        connection, name = attached
        try:
            if remote:
                process.access = process.access or S3Access()
                process.access.renew(connection)
            options = [f"DATA_PATH {quoted(self._data_path)}", "OVERRIDE_DATA_PATH true", *["READ_ONLY"] * self._read_only]
            address = quoted(f"ducklake:{self._catalog.kind}:{self._catalog.address}")
            with cores(connection, 1):
                try:
                    connection.execute(f"ATTACH {address} AS {name} ({', '.join(options)})")
                except duckdb.InvalidInputException as error:
                    raise (self._no_tables() if NOT_MADE in str(error) else error) from None
                connection.execute(f"USE {name}")
                if not self._read_only:
                    with self._locked(alone=True):
                        prepare_tables(connection, name, self._tables)
                        if self._catalog.sqlite_path is not None:  # on Postgres others may write the same at this moment
                            begin_statistics(connection, name)
                elif not has_tables(connection, name):
                    raise self._no_tables()
        except BaseException:
            _detach(attached)
            raise
        process.joined = True
        return attached

    def _no_tables(self) -> LakeUnusable:
        return LakeUnusable(f"there are no tables in {self._store.uri} yet: run `make demo` or `lafid curate DIR` first")

    @property
    def _data_path(self) -> str:
        root = str(self._store.local_path(TABLES_FOLDER)) if self._store.is_local else f"{self._store.uri}/{TABLES_FOLDER}"
        return f"{root}/"


def _detach(attached: Attached) -> None:
    for statement in ("USE memory", f"DETACH {attached.name}"):
        with suppress(duckdb.Error):  # it never came to be, or its server is gone
            attached.connection.execute(statement)
    attached.connection.close()


class S3Access:
    """Credentials as boto finds them (environment, profile, role); those of a role change every hour or so."""

    def __init__(self) -> None:
        from botocore.session import Session

        session = Session()
        self._credentials = session.get_credentials()
        self._region = session.get_config_variable("region") or "us-east-1"
        self._given = ""

    def renew(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Tell DuckDB the credentials, if they are others than before."""
        statement = self._statement()
        if statement != self._given:
            cursor.execute(statement)
            self._given = statement

    def _statement(self) -> str:
        facts = {"TYPE": "s3", "REGION": self._region}
        if self._credentials is not None:
            frozen = self._credentials.get_frozen_credentials()
            facts |= {"KEY_ID": frozen.access_key, "SECRET": frozen.secret_key}
            facts |= {"SESSION_TOKEN": frozen.token} if frozen.token else {}
        if endpoint := os.environ.get("AWS_ENDPOINT_URL"):
            parts = urlsplit(endpoint)
            facts |= {"ENDPOINT": parts.netloc + parts.path.rstrip("/"), "URL_STYLE": "path"}
            facts |= {"USE_SSL": "false"} if parts.scheme == "http" else {}
        told = ", ".join(f"{name} {value if name in ('TYPE', 'USE_SSL') else quoted(value)}" for name, value in facts.items())
        return f"CREATE OR REPLACE SECRET lafid_store ({told})"
