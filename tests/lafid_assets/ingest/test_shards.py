"""Membership of shards: decided once."""

import fcntl
import hashlib
import multiprocessing as mp
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest

from lafid_assets.ingest.openhumanvid import MANIFEST
from lafid_assets.ingest.shards import MANIFEST_TABLE, register_clips
from resources.shard_store import ShardStore


def _clips(*ids: str) -> pl.DataFrame:
    rows = [dict.fromkeys(MANIFEST) | {"clip_id": name, "path": name, "clip_root": "/r", "in_table": True} for name in ids]
    return pl.DataFrame(rows, schema=MANIFEST).with_columns(source=pl.lit("folder"), licence=pl.lit("unstated"))


def _members(store: ShardStore) -> dict[str, list[str]]:
    return {s: store.read_table(MANIFEST_TABLE, s)["clip_id"].to_list() for s in store.partitions(MANIFEST_TABLE)}


def test_clips_fill_shards_in_order(store: ShardStore, tmp_path: Path) -> None:
    assert register_clips(store, _clips(*"abcde"), 2, tmp_path / "lock") == ["shard-00000", "shard-00001", "shard-00002"]
    assert _members(store) == {"shard-00000": ["a", "b"], "shard-00001": ["c", "d"], "shard-00002": ["e"]}
    assert store.read_table(MANIFEST_TABLE, "shard-00001")["shard"].unique().to_list() == ["shard-00001"]


def test_membership_never_changes_when_clips_are_added(store: ShardStore, tmp_path: Path) -> None:
    register_clips(store, _clips(*"bd"), 2, tmp_path / "lock")
    before = hashlib.sha256(store.read_bytes(f"tables/{MANIFEST_TABLE}/shard-00000.parquet")).hexdigest()

    assert register_clips(store, _clips(*"abcd"), 2, tmp_path / "lock") == ["shard-00001"]
    assert _members(store) == {"shard-00000": ["b", "d"], "shard-00001": ["a", "c"]}
    assert hashlib.sha256(store.read_bytes(f"tables/{MANIFEST_TABLE}/shard-00000.parquet")).hexdigest() == before


def test_known_clips_make_no_shard(store: ShardStore, tmp_path: Path) -> None:
    register_clips(store, _clips(*"ab"), 1, tmp_path / "lock")
    assert register_clips(store, _clips(*"ba"), 1, tmp_path / "lock") == []


def test_a_table_that_comes_later_gives_its_rows_to_known_clips(store: ShardStore, tmp_path: Path) -> None:
    without_row = _clips(*"abc").with_columns(in_table=pl.lit(False))
    register_clips(store, without_row, 2, tmp_path / "lock")
    told = _clips(*"ac").with_columns(caption=pl.lit("The video features a cat."))
    listed = pl.concat([told, without_row.filter(pl.col("clip_id") == "b")])

    assert register_clips(store, listed, 2, tmp_path / "lock") == ["shard-00000", "shard-00001"]
    assert _members(store) == {"shard-00000": ["a", "b"], "shard-00001": ["c"]}
    assert store.read_all(MANIFEST_TABLE).select("clip_id", "in_table", "caption").rows() == [
        ("a", True, "The video features a cat."),
        ("b", False, None),
        ("c", True, "The video features a cat."),
    ]
    assert register_clips(store, listed, 2, tmp_path / "lock") == []


def test_a_row_that_vanishes_from_its_table_is_kept(store: ShardStore, tmp_path: Path) -> None:
    register_clips(store, _clips("a").with_columns(caption=pl.lit("kept")), 2, tmp_path / "lock")
    assert register_clips(store, _clips("a").with_columns(in_table=pl.lit(False)), 2, tmp_path / "lock") == []
    assert store.read_all(MANIFEST_TABLE).select("in_table", "caption").rows() == [(True, "kept")]


def test_a_table_of_another_folder_changes_nothing(store: ShardStore, tmp_path: Path) -> None:
    register_clips(store, _clips("a"), 2, tmp_path / "lock")
    elsewhere = _clips("a").with_columns(clip_root=pl.lit("/other"), caption=pl.lit("another"))
    assert register_clips(store, elsewhere, 2, tmp_path / "lock") == []
    assert store.read_all(MANIFEST_TABLE)["caption"].to_list() == [None]


def test_registration_waits_for_another(store: ShardStore, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with ThreadPoolExecutor() as pool, open(lock, "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        waiting = pool.submit(register_clips, store, _clips("a", "b"), 1, lock)
        with pytest.raises(TimeoutError):
            waiting.result(timeout=0.5)
        store.write_group({MANIFEST_TABLE: _clips("a").with_columns(shard=pl.lit("shard-00000"))}, "shard-00000", "f")
        fcntl.flock(other, fcntl.LOCK_UN)
        assert waiting.result(timeout=60) == ["shard-00001"]
    assert _members(store) == {"shard-00000": ["a"], "shard-00001": ["b"]}


def _register(uri: str, lock: Path) -> None:
    register_clips(ShardStore(uri), _clips(*"abcdefgh"), 2, lock)


def test_two_registrations_at_once_put_every_clip_into_one_shard(store: ShardStore, tmp_path: Path) -> None:
    context = mp.get_context("spawn")
    children = [context.Process(target=_register, args=(store.uri, tmp_path / "lock")) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0]
    assert sorted(clip for members in _members(store).values() for clip in members) == list("abcdefgh")
