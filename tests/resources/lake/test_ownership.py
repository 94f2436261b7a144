"""Store, catalog and home belong together, or are refused."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest

from resources.lake.catalog import Catalog, CatalogUnusable
from resources.lake.lake import Lake
from resources.lake.ownership import home_id, join, read_name, read_record, write_name
from resources.store.file_store import FileStore

Open = Callable[..., Lake]
Rows = Callable[..., Any]


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
import sys; from pathlib import Path; from resources.lake.ownership import home_id
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


def test_a_store_whose_disk_is_away_is_not_begun_anew(tmp_path: Path, address: str, open_lake_at: Open, rows_of: Rows) -> None:
    """Its mount point is there, and empty: what is written below it is hidden when the disk is back, and the catalog names it."""
    uri = str(tmp_path / "disk" / "store")
    lake = open_lake_at(tmp_path / "home", address, uri)
    lake.put(rows_of("few", 1, 2), "few", "1")  # in the catalog itself: no file lies in the store
    lake.close()
    shutil.move(tmp_path / "disk", tmp_path / "unmounted")
    Path(uri).mkdir(parents=True)
    for read_only in (False, True):
        away = open_lake_at(tmp_path / "home", address, uri, read_only=read_only)
        with pytest.raises(CatalogUnusable, match=rf"the store {uri} holds no tables, and .*: mount its disk or put it back"):
            away.is_there()
        with pytest.raises(CatalogUnusable, match="holds no tables"):
            away.stamps()
    assert list(Path(uri).iterdir()) == []
    shutil.rmtree(tmp_path / "disk")
    shutil.move(tmp_path / "unmounted", tmp_path / "disk")
    assert open_lake_at(tmp_path / "home", address, uri).read("ends").height == 2


def test_a_home_may_begin_further_stores_and_one_where_another_was_moved_away(
    tmp_path: Path, open_lake_at: Open, rows_of: Rows
) -> None:
    def begin(store: str) -> None:
        lake = open_lake_at(tmp_path / "home", "", str(tmp_path / store))
        lake.put(rows_of("s0", 1), "s0", "1")
        lake.close()

    begin("one")
    begin("two")
    shutil.move(tmp_path / "one", tmp_path / "moved")
    begin("moved")
    begin("one")
    shutil.rmtree(tmp_path / "two")
    with pytest.raises(CatalogUnusable, match=r"or remove .*/home/home.json"):
        begin("two")
    (tmp_path / "home" / "home.json").unlink()
    begin("two")


def _copy_objects(bucket: str, source: str, target: str) -> None:
    client = boto3.client("s3")
    for found in client.list_objects_v2(Bucket=bucket, Prefix=f"{source}/")["Contents"]:
        key = found["Key"]
        client.copy_object(Bucket=bucket, Key=target + key.removeprefix(source), CopySource={"Bucket": bucket, "Key": key})


def test_copy_of_a_remote_store_is_not_taken_for_it(
    tmp_path: Path, bucket: str, postgres_url: str, open_lake_at: Open, rows_of: Rows
) -> None:
    """A write through the copy would be one that the original has no file of."""
    first = open_lake_at(tmp_path / "home", postgres_url, f"s3://{bucket}/first")
    first.put(rows_of("s0", 1), "s0", "1")
    _copy_objects(bucket, "first", "copy")
    local = FileStore(str(tmp_path / "store"))
    for path in first.store.list_tree(""):
        local.write_bytes(path, first.store.read_bytes(path))
    for uri in (f"s3://{bucket}/copy", local.uri):
        with pytest.raises(CatalogUnusable, match=f"{uri} is a copy of the store s3://{bucket}/first, and the catalog"):
            open_lake_at(tmp_path / "home", postgres_url, uri).stamps()
    first.store.remove("")
    for uri in (f"s3://{bucket}/copy", local.uri):
        assert open_lake_at(tmp_path / "home", postgres_url, uri).read("ends").height == 50, "one that was moved"


def test_a_store_that_may_be_a_copy_is_refused_where_the_first_cannot_be_looked_at(
    tmp_path: Path, postgres_url: str, open_lake_at: Open
) -> None:
    lake = open_lake_at(tmp_path / "home", postgres_url)
    lake.stamps()
    lake.close()
    with lake.catalog.opened(writing=True) as cursor:
        cursor.execute("UPDATE lafid_catalog SET store = 'gs://elsewhere/lafid'")
    again = open_lake_at(tmp_path / "home", postgres_url)
    with pytest.raises(
        CatalogUnusable, match=r"cannot be looked at .*; where it was moved for good, `(UPDATE .*)` in the"
    ) as told:
        again.stamps()
    with lake.catalog.opened(writing=True) as cursor:
        cursor.execute(str(told.value).split("`")[1])
    assert again.stamps() == {}
