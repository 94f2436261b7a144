"""The same where the store is a bucket and the catalog a server's."""

import dataclasses
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import psycopg2
import pytest
import torch

from lafid_assets.dataset.forget.erase import ForgetIncomplete
from lafid_assets.dataset.forget.subject import identify
from lafid_assets.lake import open_lake
from lafid_assets.training.encoding import SHARDS_FOLDER
from model.clips.latent_shards import read_index, shard_name, write_parts
from resources.lake import catalog_copy
from resources.settings import Settings
from resources.store.file_store import FileStore


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
    _analyse(postgres_url)
    assert _on_server(postgres_url, there.needles("a")[:-1])
    subject = identify(lake, [a], [], delete_files=False)
    named = {f"exports/{a}.txt": b"somebody's own", "exports/list.csv": f"clip_id\n{a}\n".encode()}
    for path, content in named.items():
        remote.write_bytes(path, content)
    with pytest.raises(ForgetIncomplete, match=f"2 files still hold .* the first s3://{bucket}/lafid/exports/{a}.txt: remove it"):
        erase(there, subject)
    for path in named:
        remote.remove(path)
    _leave_what_nodes_make(remote, a, c)
    copy = remote.fetch(f"evaluations/abc-0/{a}.0.mp4")
    erase(there, subject)
    assert not copy.exists(), "what this machine has of the store"
    made = [path for path in remote.list_tree("") if path.startswith(("training_runs", "evaluations"))]
    assert made == [f"evaluations/abc-0/{c}.0.json", f"evaluations/abc-0/{c}.0.mp4", f"training_runs/t/validation/step-2/{c}.mp4"]
    assert set(read_index(remote, SHARDS_FOLDER).places) == {"of c"}
    assert _on_server(postgres_url, there.needles("a")) == []
    assert _on_server(postgres_url, there.needles("c"))
    assert there.unknown_files() == []
    assert not [path for path in remote.list_tree("crops") if there.content("a") in path]
    tables = [path for path in remote.list_tree("") if path.endswith(".parquet")]
    held = {path: str(pl.read_parquet(remote.read_bytes(path)).to_dicts()) for path in tables}
    gone = [needle.decode() for needle in there.needles("a")[:-1]]
    assert not [path for path, text in held.items() if any(needle in text for needle in gone)]
    assert {path.split("/")[0] for path, text in held.items() if c in text} == {"tables", "ledger", "latents"}
    copied = remote.read_bytes(catalog_copy.COPY)
    assert not [needle for needle in there.needles("a") if needle in copied]
    lake.close()


def _leave_what_nodes_make(store: FileStore, *clips: str) -> None:
    """Of each clip a video of an evaluation with its measures, one of a training, a latent, and a line in a list of clips."""
    names = {clip: f"of {letter}" for clip, letter in zip(clips, "ac", strict=True)}
    for clip in clips:
        store.write_bytes(f"evaluations/abc-0/{clip}.0.mp4", b"video")
        store.write_bytes(f"evaluations/abc-0/{clip}.0.json", b"{}")
        store.write_bytes(f"training_runs/t/validation/step-2/{clip}.mp4", b"video")
    store.write_bytes("evaluations/pages/abc.html", f"<video src='{clips[0]}'>".encode())
    shard = shard_name("x", {key: {} for key in names.values()})
    with store.writing(f"{SHARDS_FOLDER}/{shard}") as path:
        write_parts(path, {key: {"mean": torch.ones(4)} for key in names.values()})
    rows = [{"clip_id": clip, "parts": [{"part": "video", "key": key, "shard": shard}]} for clip, key in names.items()]
    with store.writing("latents/clips-0.parquet") as path:
        pl.DataFrame(rows).write_parquet(path)


def _analyse(url: str) -> None:
    """As the server does by itself: it keeps the commonest values of each column."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("ANALYZE")


def _on_server(url: str, needles: list[bytes]) -> list[bytes]:
    """Those of the needles that the files of the database hold, free pages, indexes and Postgres's own tables included."""
    files = "SELECT pg_read_binary_file(pg_relation_filepath(oid)) FROM pg_class WHERE pg_relation_filepath(oid) IS NOT NULL"
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("CHECKPOINT")
        cursor.execute(files)
        held = [bytes(content) for (content,) in cursor.fetchall()]
    return [needle for needle in needles if any(needle in content for content in held)]
