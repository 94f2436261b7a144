"""The store: whole files or none, groups, digests, and the same on S3."""

import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from resources import shard_store
from resources.shard_store import ShardStore, StoreUnusable, frame_digest

FRAME = pl.DataFrame({"clip_id": ["a", "b", None], "value": [1.0, None, 3.0], "list": [[1.0], [], None]})


def test_table_comes_back_as_it_was_written(store: ShardStore) -> None:
    digests = store.write_group({"faces": FRAME}, "shard-00000", "f1")

    assert store.read_table("faces", "shard-00000").equals(FRAME)
    assert digests == {"faces": frame_digest(FRAME)}
    assert list(store.digests("faces", "shard-00000")) == [("shard-00000", frame_digest(FRAME))]


def test_partitions_are_sorted_and_read_together(store: ShardStore) -> None:
    for number in (1, 0):
        store.write_group({"faces": pl.DataFrame({"n": [number]})}, f"shard-0000{number}", "f")

    assert store.partitions("faces") == ["shard-00000", "shard-00001"]
    assert store.read_all("faces")["n"].to_list() == [0, 1]
    assert [name for name, _ in store.digests("faces", None)] == ["shard-00000", "shard-00001"]
    assert store.partitions("nothing") == []


def test_digest_is_of_values_not_of_memory(store: ShardStore) -> None:
    """A frame that was filtered, sliced, concatenated or read back has other buffers, and nulls over other garbage."""
    long = pl.DataFrame({"s": [f"a string longer than twelve bytes, number {n}" for n in range(50)], "v": range(50)})
    filtered = long.filter(pl.col("v") % 10 == 0)
    rebuilt = pl.DataFrame(filtered.to_dicts(), schema=filtered.schema)
    joined = pl.concat([filtered.slice(0, 2), filtered.slice(2)], rechunk=False)
    store.write_group({"t": filtered}, "all", "f")

    assert frame_digest(filtered) == frame_digest(rebuilt) == frame_digest(joined) == frame_digest(store.read_table("t"))
    masked = pl.DataFrame({"v": [7, 8]}).select(pl.when(pl.col("v") > 7).then("v"))
    assert frame_digest(masked) == frame_digest(pl.DataFrame({"v": [None, 8]}, schema={"v": pl.Int64}))
    without_null = pl.DataFrame({"v": [None, 8]}).drop_nulls()
    assert frame_digest(without_null) == frame_digest(pl.DataFrame({"v": [8]}))


@pytest.mark.parametrize(
    "other",
    [
        FRAME.with_columns(value=pl.Series([1.0, None, 3.5])),
        FRAME.rename({"value": "worth"}),
        FRAME.with_columns(pl.col("value").cast(pl.Float32)),
        FRAME.reverse(),
        FRAME.head(2),
        FRAME.with_columns(list=pl.Series([[1.0], None, None], dtype=pl.List(pl.Float64))),
    ],
    ids=["value", "name", "type", "order", "length", "empty list or null"],
)
def test_digest_tells_frames_apart(other: pl.DataFrame) -> None:
    assert frame_digest(other) != frame_digest(FRAME)


def test_group_counts_only_when_all_files_were_written_together(store: ShardStore) -> None:
    frames = {"a": FRAME, "b": FRAME}
    store.write_group(frames, "s", "f1")
    assert store.is_current(("a", "b"), "s", "f1")
    assert not store.is_current(("a", "b"), "s", "f2")
    assert not store.is_current(("a", "b", "c"), "s", "f1")

    store.write_group({"b": FRAME.head(1)}, "s", "f1")
    assert not store.is_current(("a", "b"), "s", "f1")
    store.write_group(frames, "s", "f1")
    assert store.is_current(("a", "b"), "s", "f1")


def test_group_torn_between_its_files_is_not_current(store: ShardStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write_group({"a": FRAME, "b": FRAME}, "s", "f1")
    write = ShardStore.write_bytes

    def fail_at_b(self: ShardStore, path: str, content: bytes) -> None:
        if "/b/" in path:
            raise KeyboardInterrupt
        write(self, path, content)

    monkeypatch.setattr(ShardStore, "write_bytes", fail_at_b)
    with pytest.raises(KeyboardInterrupt):
        store.write_group({"a": FRAME.head(1), "b": FRAME.head(1)}, "s", "f2")

    assert not store.is_current(("a", "b"), "s", "f1")
    assert not store.is_current(("a", "b"), "s", "f2")


WRITE_AND_DIE = """
import os, signal, sys
import polars as pl
from resources.shard_store import ShardStore
os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
ShardStore(sys.argv[1]).write_group({"t": pl.DataFrame({"n": [2]})}, "all", "f2")
"""


def test_killed_write_leaves_the_old_file_and_no_partition(store: ShardStore) -> None:
    store.write_group({"t": pl.DataFrame({"n": [1]})}, "all", "f1")
    ended = subprocess.run([sys.executable, "-c", WRITE_AND_DIE, store.uri], check=False)

    assert ended.returncode == -signal.SIGKILL
    assert len(list(Path(store.full_path("tables/t")).iterdir())) == 2, "the torn temporary file must be there to be ignored"
    assert store.partitions("t") == ["all"]
    assert store.read_table("t")["n"].to_list() == [1]
    assert store.is_current(("t",), "all", "f1")


def test_failed_write_leaves_nothing(store: ShardStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StoreUnusable, match=r"cannot write .*reports/x.png \(No space left on device\): free some space"):
        store.write_bytes("reports/x.png", b"x")
    assert store.list_files("reports") == []


def test_missing_table_is_named_with_its_remedy(store: ShardStore) -> None:
    with pytest.raises(StoreUnusable, match=r"the table raw_clips has no partition shard-00000 in .*materialize the asset raw_"):
        store.read_table("raw_clips", "shard-00000")
    with pytest.raises(StoreUnusable, match="the table raw_clips is empty in .*materialize the asset raw_clips first"):
        store.read_all("raw_clips")
    with pytest.raises(StoreUnusable, match="cannot read .*/nothing"):
        store.read_bytes("nothing")
    assert store.stamp("raw_clips", "shard-00000") is None


def test_foreign_parquet_has_no_stamp(store: ShardStore) -> None:
    Path(store.full_path("tables/t")).mkdir(parents=True)
    FRAME.write_parquet(store.full_path("tables/t/all.parquet"))

    assert store.stamp("t") is None
    assert not store.is_current(("t",), "all", "f")
    assert list(store.digests("t", None)) == []


def test_unknown_scheme_is_refused() -> None:
    with pytest.raises(StoreUnusable, match="neither a local path nor s3://: set LAFID_STORE"):
        ShardStore("gs://bucket/prefix")


def test_s3_store_writes_and_reads_whole_tables(bucket: str) -> None:
    store = ShardStore(f"s3://{bucket}/lafid/")
    assert store.partitions("faces") == []
    store.write_group({"faces": FRAME, "frames": FRAME}, "shard-00000", "f1")
    store.write_bytes("reports/page.html", b"page")

    again = ShardStore(f"s3://{bucket}/lafid")
    assert again.read_table("faces", "shard-00000").equals(FRAME)
    assert again.partitions("faces") == ["shard-00000"]
    assert again.is_current(("faces", "frames"), "shard-00000", "f1")
    assert again.read_bytes("reports/page.html") == b"page"
    assert again.exists("reports/page.html")
    assert not again.exists("reports")
    with pytest.raises(StoreUnusable, match="has no partition shard-00001"):
        again.read_table("faces", "shard-00001")


def test_s3_store_has_no_local_files(bucket: str) -> None:
    with pytest.raises(StoreUnusable, match="needed as a local file, but the store is s3://.*set LAFID_STORE to a local path"):
        ShardStore(f"s3://{bucket}/lafid").local_path("latents/x.safetensors")


def test_s3_failure_names_file_and_bucket(bucket: str) -> None:
    with pytest.raises(StoreUnusable, match="cannot write s3://no-such-bucket/lafid/x"):
        ShardStore("s3://no-such-bucket/lafid").write_bytes("x", b"1")


def test_metadata_keys_are_the_published_ones() -> None:
    """Files of older versions are found again only under these."""
    keys = (shard_store.FINGERPRINT_KEY, shard_store.DIGEST_KEY, shard_store.GROUP_KEY)
    assert keys == (b"lafid.fingerprint", b"lafid.digest", b"lafid.group")


def _drop_a(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.filter(pl.col("clip_id").ne_missing("a"))


def _tree_and_rewrite(store: ShardStore) -> None:
    store.write_group({"faces": FRAME}, "shard-00000", "f1")
    store.write_bytes("crops/a/b/c.png", b"picture")
    assert store.list_tree("crops") == ["crops/a/b/c.png"]
    assert store.list_tree("nothing") == []
    path = "tables/faces/shard-00000.parquet"
    assert store.list_tree("tables") == [path]
    before = store.stamp("faces", "shard-00000")
    assert store.rewrite(path, _drop_a, dry_run=True)
    assert store.read_table("faces", "shard-00000").equals(FRAME)
    assert store.rewrite(path, _drop_a)
    assert not store.rewrite(path, _drop_a), "nothing is left to change"
    after = store.stamp("faces", "shard-00000")
    assert store.read_table("faces", "shard-00000").equals(_drop_a(FRAME))
    assert before is not None
    assert after is not None
    assert (after.fingerprint, after.group) == (before.fingerprint, before.group)
    assert after.digest == frame_digest(_drop_a(FRAME))
    for _ in range(2):
        store.remove("crops/a")
        store.remove(path)
    assert store.list_tree("crops") == []
    assert store.partitions("faces") == []


def test_files_are_listed_rewritten_and_removed(store: ShardStore) -> None:
    _tree_and_rewrite(store)


def test_the_same_on_s3(bucket: str) -> None:
    _tree_and_rewrite(ShardStore(f"s3://{bucket}/prefix"))
