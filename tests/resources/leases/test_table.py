"""The table of leases: where it lies, what is in its way, and what is said when it cannot be used."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest

from resources.leases import table as module
from resources.leases.leases import LeasesUnusable
from resources.leases.table import ADVISORY_LOCK, LeaseTable, Row

ROW = Row("shard", 1, "me", 2.5)


@contextmanager
def _sqlite_locked(file: Path) -> Iterator[None]:
    with closing(sqlite3.connect(file)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield


@contextmanager
def _postgres_locked(address: str) -> Iterator[None]:
    import psycopg2

    with closing(psycopg2.connect(address)) as other:
        other.cursor().execute(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")
        yield


def _end_backend(address: str, backend: int) -> None:
    import psycopg2

    with closing(psycopg2.connect(address)) as other:
        other.cursor().execute("SELECT pg_terminate_backend(%s, 5000)", [backend])


@pytest.fixture(params=["sqlite", "postgres"])
def locked(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[LeaseTable, Callable]:
    """A table with one row, and what keeps everybody else off it for a while."""
    if request.param == "postgres":
        address = request.getfixturevalue("postgres_url")
        lock = partial(_postgres_locked, address)
    else:
        address = f"sqlite:///{tmp_path}/c.sqlite"
        lock = partial(_sqlite_locked, tmp_path / "c-leases.sqlite")
    LeaseTable(address).run(lambda rows: rows.put(ROW))
    monkeypatch.setattr(module, "BUSY_S", 0.3)
    return LeaseTable(address), lock


def test_a_locked_database_is_waited_for(locked: tuple[LeaseTable, Callable], monkeypatch: pytest.MonkeyPatch) -> None:
    table, lock = locked
    turned_away, passes = threading.Event(), module._passes
    monkeypatch.setattr(module, "_passes", lambda error: turned_away.set() or passes(error))
    found: list[Row | None] = []
    reading = threading.Thread(target=lambda: found.append(table.run(lambda rows: rows.get("shard"))))
    with lock():
        reading.start()
        assert turned_away.wait(900)
        assert not found
    reading.join(900)
    assert found == [ROW]


def test_a_database_that_stays_locked_is_named(locked: tuple[LeaseTable, Callable], monkeypatch: pytest.MonkeyPatch) -> None:
    table, lock = locked
    monkeypatch.setattr(module, "PATIENCE_S", 0.0)
    with lock(), pytest.raises(LeasesUnusable, match="cannot be used .*(locked|timeout)"):
        table.run(lambda rows: rows.now())
    assert table.run(lambda rows: rows.get("shard")) == ROW


def test_a_change_is_made_whole_or_not_at_all(locked: tuple[LeaseTable, Callable]) -> None:
    def change(rows: module.Rows) -> None:
        rows.drop("shard")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        locked[0].run(change)
    assert locked[0].run(lambda rows: rows.get("shard")) == ROW


def test_a_lost_connection_is_made_anew(postgres_url: str) -> None:
    """Also the first one, on which the table is made."""
    table, backends = LeaseTable(postgres_url), []

    def change(rows: module.Rows) -> None:
        backends.append(rows._connection.exec_driver_sql("SELECT pg_backend_pid()").scalar())
        if len(backends) == 1:
            _end_backend(postgres_url, backends[0])
        rows.put(ROW)

    table.run(change)
    assert len(set(backends)) == 2
    assert table.run(lambda rows: rows.get("shard")) == ROW


def test_only_the_owner_renews_and_frees(locked: tuple[LeaseTable, Callable]) -> None:
    table = locked[0]
    for other in (Row("shard", 1, "you", 0.0), Row("shard", 2, "me", 0.0), Row("other", 1, "me", 0.0)):
        assert not table.run(lambda rows, other=other: rows.renew(other, 9.0))
    table.run(lambda rows: rows.free(Row("shard", 1, "you", 0.0), remove=True))
    assert table.run(lambda rows: rows.renew(ROW, 9.0))
    table.run(lambda rows: rows.free(ROW, remove=False))
    assert table.run(lambda rows: rows.get("shard")) == Row("shard", 1, "", 9.0)


def test_beside_a_catalog_in_sqlite_leases_have_a_file_of_their_own(tmp_path: Path) -> None:
    """DuckDB's SQLite and Python's in one process destroy a file that both of them write."""
    LeaseTable(f"sqlite:///{tmp_path}/store/catalog.sqlite").run(lambda rows: rows.put(ROW))
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["catalog-leases.sqlite"]


@pytest.mark.parametrize("form", ["postgresql://{}", "postgres://{}", "postgresql+psycopg2://{}"])
def test_postgres_may_be_spelled_as_elsewhere(form: str, postgres_url: str) -> None:
    table = LeaseTable(form.format(postgres_url.removeprefix("postgresql://")))
    assert table.run(lambda rows: rows.now()) > 1e9


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("postgresql://me:geheim@127.0.0.1:1/lafid", r"postgresql://me:\*\*\*@127.0.0.1:1/lafid cannot be used .*refused"),
        ("postgresql://me@127.0.0.1:1/lafid?password=geheim", r"me@127.0.0.1:1/lafid cannot be used .*refused"),
        ("postgresql://me:geheim@127.0.0.1:1/lafid?geheim=geheim", r"@127.0.0.1:1/lafid cannot be used"),
        ("postgresql://me:geheim@127.0.0.1:geheim/lafid", "of the catalog cannot be used .*%40"),
        ("geheim", "of the catalog cannot be used .*no URL"),
        ("mysql://me:geheim@127.0.0.1/lafid", "of the catalog .*neither sqlite.* nor postgresql"),
        ("sqlite://", "neither sqlite"),
        ("sqlite:////proc/geheim/c.sqlite", "sqlite:////proc/.*/c-leases.sqlite cannot be used"),
    ],
)
def test_a_database_that_cannot_be_used_is_named_without_its_password(address: str, told: str) -> None:
    with pytest.raises(LeasesUnusable, match=f"{told}.*: start the database or") as unusable:
        LeaseTable(address).run(lambda rows: rows.now())
    assert "\n" not in str(unusable.value)
    assert address.startswith("sqlite") or "geheim" not in str(unusable.value)
