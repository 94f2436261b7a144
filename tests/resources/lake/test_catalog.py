"""The catalog's address, and what is shown of it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from resources.lake.catalog import Catalog, CatalogUnusable
from resources.lake.lake import Lake
from resources.store.file_store import FileStore

Open = Callable[..., Lake]


def test_the_catalog_lies_in_a_local_store_or_in_postgres(tmp_path: Path) -> None:
    store = FileStore(str(tmp_path / "store"))
    assert Catalog.of(store, None).sqlite_path == tmp_path / "store" / "catalog.sqlite"
    for address in ("postgres://me@host/lake", "postgresql://me@host/lake"):
        assert Catalog.of(store, address).url == "postgresql://me@host/lake"
    with pytest.raises(CatalogUnusable, match=r"LAFID_CATALOG is mysql:...: set it to postgresql://user@host/database"):
        Catalog.of(store, "mysql://me:secret@host/lake")


@pytest.mark.parametrize("password", ["p@ssword", "pass/word"])
def test_a_password_that_postgres_would_take_for_its_host_is_refused_unshown(tmp_path: Path, password: str) -> None:
    with pytest.raises(CatalogUnusable, match="write %40 or %2F") as refused:
        Catalog.of(FileStore(str(tmp_path)), f"postgresql://me:{password}@host/lake")
    assert "word" not in str(refused.value).replace("password", "")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://me:p%40ss[word@host:5432/lake", "postgresql://me:***@host:5432/lake"),
        ("postgresql://host/lake?user=me&password=p%40ss[word", "postgresql://host/lake?user=me&password=***"),
        ("postgresql://me@host/lake", "postgresql://me@host/lake"),
        ("postgresql:///lake", "postgresql:///lake"),
    ],
)
def test_passwords_are_not_shown(tmp_path: Path, address: str, shown: str) -> None:
    catalog = Catalog.of(FileStore(str(tmp_path)), address)
    assert str(catalog) == shown
    told = catalog.without_password(f'cannot connect to "{catalog.address}"\n for {address}')
    assert "ss[word" not in told
    assert "connect_timeout=10" in catalog.address


def test_damaged_file_is_named(tmp_path: Path, open_lake_at: Open) -> None:
    lake = open_lake_at(tmp_path / "home")
    lake.stamps()
    lake.close()
    path = tmp_path / "home" / "store" / "catalog.sqlite"
    path.write_bytes(b"this is no database" * 1000)
    with pytest.raises(CatalogUnusable, match=r"is damaged .*: move it away and run `lafid rebuild`"):
        open_lake_at(tmp_path / "home").stamps()


def test_a_message_holds_none_of_the_statements_that_it_failed_at() -> None:
    said = 'Failed to commit: Failed to execute query "INSERT INTO "public".t VALUES (1);\nUPDATE t": ERROR:  division by zero'
    assert Catalog("postgresql://me@host/lake").without_password(said) == "Failed to commit: ERROR: division by zero"
