"""The same where the store is a bucket and the catalog a server's."""

import dataclasses
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import psycopg2
import pytest

from lafid_assets.dataset.forget.erase import ForgetIncomplete
from lafid_assets.dataset.forget.subject import identify
from lafid_assets.lake import open_lake
from resources import catalog_copy
from resources.settings import Settings


def test_nothing_is_left_in_a_bucket_and_on_a_server(
    installation: Any,
    lay_everything: Callable[..., list[str]],
    erase: Callable[..., Any],
    bucket: str,
    postgres_url: str,
    tmp_path: Path,
) -> None:
    settings = Settings(home=tmp_path / "other", store_uri=f"s3://{bucket}/lafid", catalog_address=postgres_url)
    lake = open_lake(settings)
    versions = lay_everything(lake, installation.footage)
    there = dataclasses.replace(installation, settings=settings, lake=lake)
    there = dataclasses.replace(there, first_version=versions[0], second_version=versions[1])
    catalog_copy.copy(lake)
    a, c, remote = there.clip("a"), there.clip("c"), there.store
    assert _on_server(postgres_url, there.needles("a")[:-1])
    subject = identify(lake, [a], [], delete_files=False)
    named = {f"exports/{a}.txt": b"somebody's own", "exports/list.csv": f"clip_id\n{a}\n".encode()}
    for path, content in named.items():
        remote.write_bytes(path, content)
    with pytest.raises(ForgetIncomplete, match=f"2 files still hold .* the first s3://{bucket}/lafid/exports/{a}.txt: remove it"):
        erase(there, subject)
    for path in named:
        remote.remove(path)
    erase(there, subject)
    assert _on_server(postgres_url, there.needles("a")) == []
    assert _on_server(postgres_url, there.needles("c"))
    assert there.unknown_files() == []
    assert not [path for path in remote.list_tree("crops") if there.content("a") in path]
    tables = [path for path in remote.list_tree("") if path.endswith(".parquet")]
    held = {path: str(pl.read_parquet(remote.read_bytes(path)).to_dicts()) for path in tables}
    gone = [needle.decode() for needle in there.needles("a")[:-1]]
    assert not [path for path, text in held.items() if any(needle in text for needle in gone)]
    assert {path.split("/")[0] for path, text in held.items() if c in text} == {"tables", "ledger"}
    copied = remote.read_bytes(catalog_copy.COPY)
    assert not [needle for needle in there.needles("a") if needle in copied]
    lake.close()


def _on_server(url: str, needles: list[bytes]) -> list[bytes]:
    """Those of the needles that the files of the catalog's tables hold, free pages included."""
    files = (
        "SELECT pg_read_binary_file(pg_relation_filepath(oid)) FROM pg_class WHERE relname LIKE 'ducklake_%' AND relkind = 'r'"
    )
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("CHECKPOINT")
        cursor.execute(files)
        held = [bytes(content) for (content,) in cursor.fetchall()]
    return [needle for needle in needles if any(needle in content for content in held)]
