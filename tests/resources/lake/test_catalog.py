"""Store, catalog and home belong together, or are refused."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from resources.lake.catalog import Catalog, CatalogUnusable, home_id, join, read_name, read_record, write_name
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


def test_second_home_is_refused_where_the_catalog_is_a_file(tmp_path: Path, open_lake_at: Open) -> None:
    one = open_lake_at(tmp_path / "one")
    one.stamps()
    uri = str(tmp_path / "one" / "store")
    for read_only in (False, True):
        two = open_lake_at(tmp_path / "two", "", uri, read_only=read_only)
        with pytest.raises(CatalogUnusable, match=r"is another home's \([0-9a-f]{8}\) and has its catalog in a file"):
            two.stamps()
    assert open_lake_at(tmp_path / "one", "", uri, read_only=True).stamps() == {}


def test_homes_share_a_store_whose_catalog_is_postgres(tmp_path: Path, postgres_url: str, open_lake_at: Open) -> None:
    open_lake_at(tmp_path / "one", postgres_url).stamps()
    uri = str(tmp_path / "one" / "store")
    assert open_lake_at(tmp_path / "two", postgres_url, uri).stamps() == {}
    other = open_lake_at(tmp_path / "two", postgres_url)
    with pytest.raises(
        CatalogUnusable, match=rf"belongs to the store {uri}, not to .*two/store: set LAFID_CATALOG or LAFID_STORE"
    ):
        other.stamps()


def test_copy_of_a_store_is_not_taken_for_it(tmp_path: Path, postgres_url: str, open_lake_at: Open) -> None:
    open_lake_at(tmp_path / "one", postgres_url).stamps()
    shutil.copytree(tmp_path / "one" / "store", tmp_path / "copy")
    (tmp_path / "link").symlink_to(tmp_path / "one" / "store")
    assert open_lake_at(tmp_path / "one", postgres_url, str(tmp_path / "link")).stamps() == {}
    with pytest.raises(CatalogUnusable, match=r"copy is a copy of the store .*one/store"):
        open_lake_at(tmp_path / "one", postgres_url, str(tmp_path / "copy")).stamps()


def test_lost_catalog_is_not_begun_anew(tmp_path: Path, address: str, open_lake_at: Open) -> None:
    lake = open_lake_at(tmp_path / "home", address)
    lake.stamps()
    lake.close()
    if (path := lake.catalog.sqlite_path) is not None:
        path.unlink()
    else:
        with lake.catalog.opened(writing=True) as cursor:
            cursor.execute("DROP TABLE lafid_catalog")
    for read_only in (False, True):
        with pytest.raises(CatalogUnusable, match=r"holds tables, but their catalog .* is missing or empty: .*`lafid rebuild`"):
            open_lake_at(tmp_path / "home", address, read_only=read_only).stamps()


def test_lost_record_is_written_anew(tmp_path: Path, address: str, open_lake_at: Open, rows_of: Callable) -> None:
    lake = open_lake_at(tmp_path / "home", address)
    lake.put(rows_of("s", 1), "s", "1")
    before = read_record(lake.store)
    lake.store.remove("lake.json")
    again = open_lake_at(tmp_path / "home", address)
    assert again.read("ends").height == 50
    assert read_record(lake.store) == before


def test_damaged_file_is_named(tmp_path: Path, open_lake_at: Open) -> None:
    lake = open_lake_at(tmp_path / "home")
    lake.stamps()
    lake.close()
    path = tmp_path / "home" / "store" / "catalog.sqlite"
    path.write_bytes(b"this is no database" * 1000)
    with pytest.raises(CatalogUnusable, match=r"is damaged .*: move it away and run `lafid rebuild`"):
        open_lake_at(tmp_path / "home").stamps()


def test_killed_while_the_lake_was_made_it_is_made_by_the_next(tmp_path: Path, address: str, open_lake_at: Open) -> None:
    lake = open_lake_at(tmp_path / "home", address)
    with lake.catalog.opened(writing=True) as cursor:
        write_name(cursor, lake.store)
    assert not lake.store.exists("lake.json")
    assert lake.stamps() == {}
    named = read_name(lake.catalog)
    assert named is not None
    assert read_record(lake.store) == {"catalog": named.id, "home": home_id(tmp_path / "home", make=False)}


NAME_IT = """
import sys; from pathlib import Path; from resources.lake.catalog import home_id
print(home_id(Path(sys.argv[1]), make=True))
"""


def test_a_home_gets_one_name_however_many_begin_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", NAME_IT, str(tmp_path / "home")]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    names = {process.communicate()[0].strip() for process in started}
    assert names == {json.loads((tmp_path / "home" / "home.json").read_text())["home"]}
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["home.json"]


def test_asking_makes_nothing(tmp_path: Path) -> None:
    store = FileStore(str(tmp_path / "store"))
    assert not join(Catalog.of(store, None), store, tmp_path / "home", writing=False)
    assert list(tmp_path.iterdir()) == []


def test_a_message_holds_none_of_the_statements_that_it_failed_at() -> None:
    said = 'Failed to commit: Failed to execute query "INSERT INTO "public".t VALUES (1);\nUPDATE t": ERROR:  division by zero'
    assert Catalog("postgresql://me@host/lake").without_password(said) == "Failed to commit: ERROR: division by zero"
