"""A bench in a store: the same files locally and in a bucket, and never half of one."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lafid_assets.release.bench_folder import copy_bench, drop_superseded, folder_of, is_whole, put_bench, stored_bench
from lafid_assets.schemas import LAFID_BENCH
from model.evaluation.bench import seal_bench, verify_bench
from resources.lake.lake import Lake
from resources.store.file_store import FileStore, StoreUnusable
from tests.kills import ends_alike
from tests.model.evaluation.benches import small_facts


def test_a_bucket_holds_what_a_folder_holds(bucket: str, tmp_path: Path) -> None:
    facts, pictures = small_facts()
    bench = seal_bench(facts, pictures)
    stores = (FileStore(str(tmp_path / "store")), FileStore(f"s3://{bucket}/lafid"))
    for store in stores:
        put_bench(store, bench, pictures)
        assert is_whole(store, bench.version)
        assert stored_bench(store, bench.version) == bench
        copy = tmp_path / ("local" if store.is_local else "bucket")
        assert copy_bench(store, bench.version, copy) == verify_bench(copy) == bench
    assert stores[0].list_tree("") == stores[1].list_tree("")


def test_a_bench_is_whole_only_when_everything_is_there(
    store: FileStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    facts, pictures = small_facts()
    bench = seal_bench(facts, pictures)
    folder = folder_of(bench.version)

    stores = (FileStore(str(tmp_path / f"killed {number}")) for number in itertools.count())

    def put(one: FileStore) -> None:
        assert not is_whole(one, bench.version), "whatever was written before the kill"
        put_bench(one, bench, pictures)

    def files(one: FileStore) -> list[tuple[str, bytes]]:
        return [(path, one.read_bytes(path)) for path in one.list_tree(folder)]

    writes = ends_alike(lambda: next(stores), put, files, (FileStore, "write_bytes"))
    assert len(writes) == len(bench.pictures) + 1
    put_bench(store, bench, pictures)
    assert is_whole(store, bench.version)
    with monkeypatch.context() as patched:
        patched.setattr(store, "write_bytes", lambda *_: pytest.fail("what lies there whole is written again"))
        put_bench(store, bench, pictures)
    store.remove(f"{folder}/{bench.pictures[0]}")
    assert not is_whole(store, bench.version)
    with pytest.raises(StoreUnusable):
        copy_bench(store, bench.version, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_earlier_benches_go_and_the_datasets_own_stays(lake: Lake, row_of: Callable[..., dict[str, Any]]) -> None:
    """All stay while the dataset has none: nobody knows then which of them will be made again."""
    for path in ("0123/bench.json", "0123/photos/a.png", "4567/bench.json"):
        lake.store.write_bytes(f"benches/{path}", b"1234")
    lake.put({LAFID_BENCH.name: LAFID_BENCH.frame([])}, "all", "f")
    assert drop_superseded(lake) == {}
    lake.put({LAFID_BENCH.name: LAFID_BENCH.frame([row_of(LAFID_BENCH, bench_version="4567")])}, "all", "g")
    assert drop_superseded(lake, dry_run=True) == {"benches/0123": 8}
    assert len(lake.store.list_tree("benches")) == 3
    assert drop_superseded(lake) == {"benches/0123": 8}
    assert lake.store.list_tree("benches") == ["benches/4567/bench.json"]
