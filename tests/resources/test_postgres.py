"""What a Postgres server says of itself, and what it is taken for when it refuses a write."""

import os
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import polars as pl
import psycopg2
import pytest

from lafid_assets.lake import open_lake
from lafid_assets.runs.failure_line import one_line
from lafid_assets.schemas import CLIP_FILES
from resources import postgres
from resources.lake.catalog import Catalog, CatalogUnusable
from resources.leases.leases import Leases, LeasesUnusable
from resources.postgres import PostgresAway, PostgresUnusable
from resources.settings import Settings
from resources.transient_errors import is_transient
from tests.postgres import execute, fresh_database

HOUR_S = 3600.0


def _execute(url: str, *statements: str) -> None:
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


def test_a_database_is_the_same_by_every_name_and_no_other(postgres_url: str) -> None:
    here = postgres.facts(postgres_url)
    by_name = postgres_url.replace("postgresql://", "postgresql+psycopg2://").replace("127.0.0.1", "localhost")
    assert postgres.facts(by_name).identity == here.identity
    other = postgres_url.rsplit("/", 1)[0] + "/postgres"
    assert postgres.facts(other).identity != here.identity


def test_a_clock_that_is_an_hour_ahead_is_seen(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert abs(postgres.facts(postgres_url).ahead_s) < 5
    real = time.time
    monkeypatch.setattr(postgres.time, "time", lambda: real() + HOUR_S)
    assert postgres.facts(postgres_url).ahead_s == pytest.approx(HOUR_S, abs=5)


def test_a_server_that_is_away_may_come_back_and_its_password_is_not_shown() -> None:
    with pytest.raises(PostgresAway, match=r"the database postgresql://me:\*\*\*@127.0.0.1:9/x does not answer") as away:
        postgres.facts("postgresql+psycopg2://me:geheim-wort@127.0.0.1:9/x")
    assert is_transient(away.value)
    assert "geheim" not in str(away.value)
    with pytest.raises(PostgresUnusable, match="is no URL") as refused:
        postgres.facts("postgresql//me:geheim-wort@host")
    assert "geheim" not in str(refused.value)


def test_asking_whether_it_takes_writes_leaves_nothing(postgres_url: str) -> None:
    postgres.refuse_unwritable(postgres_url)
    assert postgres.one_value(postgres_url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == "0"
    assert postgres.one_value(postgres_url, "SELECT 1 FROM nowhere") is None


def test_a_read_only_server_and_a_user_without_rights_are_told_with_the_remedy(postgres_url: str) -> None:
    name = postgres_url.rsplit("/", 1)[1]
    _execute(postgres_url, f"CREATE ROLE guest_{name} LOGIN", "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    with pytest.raises(PostgresUnusable, match="its user may not write there: make the user the database's owner"):
        postgres.refuse_unwritable(postgres_url.replace("lafid@", f"guest_{name}@"))
    _execute(postgres_url, f"DROP ROLE guest_{name}", f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(PostgresUnusable, match="it is a standby, or was made read-only: name the server that takes writes"):
        postgres.refuse_unwritable(postgres_url)
    with pytest.raises(LeasesUnusable, match="cannot be written: it is a standby"), Leases(postgres_url).held("x"):
        pass
    catalog = Catalog(postgres_url)
    with pytest.raises(CatalogUnusable, match="takes no writes, it is a standby"), catalog.opened(writing=True) as cursor:
        cursor.execute("CREATE TABLE t (a INTEGER)")


@pytest.fixture
def small_postgres_url(_postgres_server: str, tmp_path: Path) -> Iterator[str]:
    """A database on a disk of 24 MB."""
    disk = Path(f"/tmp/lafid-small-{os.getpid()}")
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m,mode=777", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        disk.rmdir()
        pytest.skip("a small disk cannot be mounted here: it takes root and a machine that lets it")
    try:
        if os.geteuid() == 0:
            subprocess.run(["chown", "nobody", str(disk)], check=True)
        execute(_postgres_server, f"CREATE TABLESPACE small LOCATION '{disk}'")
        with fresh_database(_postgres_server, "small", tablespace="small") as address:
            yield address
        execute(_postgres_server, "DROP TABLESPACE small")
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
        disk.rmdir()


def test_a_full_disk_of_the_server_is_one_line_and_costs_nothing_that_was_written(
    small_postgres_url: str, tmp_path: Path, row_of: Callable[..., dict[str, Any]]
) -> None:
    """The statements that failed, pages of them, stand in no message."""
    home = tmp_path / "home"
    lake = open_lake(Settings(home=home, store_uri=str(home / "store"), catalog_address=small_postgres_url))
    files = CLIP_FILES.frame([row_of(CLIP_FILES, path=f"{name}.mp4", shard="one") for name in range(9)])

    def put(shard: str) -> None:
        lake.put({CLIP_FILES.name: files.with_columns(shard=pl.lit(shard))}, shard, "f")

    put("one")
    frees = psycopg2.connect(small_postgres_url)  # a new connection may want to write, which a full disk refuses
    frees.autocommit = True
    with frees.cursor() as cursor:  # a page that has its place on the disk can be written out when that is full
        cursor.execute("CHECKPOINT")
    _execute(small_postgres_url, "CREATE TABLE filler (t TEXT) WITH (autovacuum_enabled = off)")
    with pytest.raises(psycopg2.errors.DiskFull) as full:
        _fill(small_postgres_url)
    assert one_line(full.value) == (
        "Dagster's database (LAFID_DAGSTER_DB) takes no writes, its disk is full: free some space there; then run it again"
    )
    with pytest.raises(PostgresUnusable, match="takes no writes, its disk is full: free some space there"):
        postgres.refuse_unwritable(small_postgres_url)
    with pytest.raises(CatalogUnusable, match="takes no writes, its disk is full") as told:
        deque(map(put, map(str, range(100))), 0)
    assert one_line(told.value) == (
        f"the catalog {small_postgres_url} takes no writes, its disk is full: free some space there; then run it again: "
        "what was written before is whole"
    )
    assert lake.read(CLIP_FILES.name, "one").height == 9
    with closing(frees), frees.cursor() as cursor:
        cursor.execute("DROP TABLE filler")
        cursor.execute("CHECKPOINT")
    put("two")
    assert lake.read(CLIP_FILES.name, "two").height == 9
    lake.close()


def _fill(url: str) -> None:
    """To the last page, which a single row of a shard then wants.

    Raises:
        psycopg2.errors.DiskFull: it is full.
    """
    for rows in (1000, 100, 10):
        with suppress(psycopg2.errors.DiskFull):
            while True:
                _execute(url, f"INSERT INTO filler SELECT repeat('x', 1900) FROM generate_series(1, {rows})")
    while True:
        _execute(url, "INSERT INTO filler SELECT repeat('x', 1900)")
