"""The store's files: whole or none, and the same on S3."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from resources.file_store import FileStore, StoreUnusable

WRITE_AND_DIE = """
import os, signal, sys
from resources.file_store import FileStore
os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
FileStore(sys.argv[1]).write_bytes("reports/x.png", b"new")
"""


def test_killed_write_leaves_the_old_file(store: FileStore) -> None:
    store.write_bytes("reports/x.png", b"old")
    ended = subprocess.run([sys.executable, "-c", WRITE_AND_DIE, store.uri], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert len(list(Path(store.full_path("reports")).iterdir())) == 2, "the torn temporary file must be there to be ignored"
    assert store.list_files("reports") == ["x.png"]
    assert store.read_bytes("reports/x.png") == b"old"


def test_failed_write_leaves_nothing(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StoreUnusable, match=r"cannot write .*reports/x.png \(No space left on device\): free some space"):
        store.write_bytes("reports/x.png", b"x")
    assert store.list_files("reports") == []


def test_missing_file_is_named(store: FileStore) -> None:
    with pytest.raises(StoreUnusable, match="cannot read .*/nothing"):
        store.read_bytes("nothing")
    assert not store.exists("nothing")


def test_unknown_scheme_is_refused() -> None:
    with pytest.raises(StoreUnusable, match="neither a local path nor s3://: set LAFID_STORE"):
        FileStore("gs://bucket/prefix")


def test_s3_store_has_no_local_files(bucket: str) -> None:
    with pytest.raises(StoreUnusable, match="needed as a local file, but the store is s3://.*set LAFID_STORE to a local path"):
        FileStore(f"s3://{bucket}/lafid").local_path("latents/x.safetensors")


def test_s3_failure_names_file_and_bucket(bucket: str) -> None:
    with pytest.raises(StoreUnusable, match="cannot write s3://no-such-bucket/lafid/x"):
        FileStore("s3://no-such-bucket/lafid").write_bytes("x", b"1")


@pytest.mark.parametrize("place", ["local", "s3"])
def test_files_are_written_listed_and_removed(request: pytest.FixtureRequest, place: str) -> None:
    local = place == "local"
    store = request.getfixturevalue("store") if local else FileStore(f"s3://{request.getfixturevalue('bucket')}/prefix/")
    assert store.list_tree("crops") == store.list_files("crops") == []
    store.write_bytes("crops/a/b/c.png", b"picture")
    store.write_bytes("crops/a/d.png", b"other")
    assert store.read_bytes("crops/a/b/c.png") == b"picture"
    assert store.exists("crops/a/b/c.png")
    assert not store.exists("crops/a")
    assert store.list_tree("crops") == ["crops/a/b/c.png", "crops/a/d.png"]
    assert store.list_files("crops/a") == ["d.png"]
    for _ in range(2):
        store.remove("crops/a/d.png")
        store.remove("crops/a/b")
    assert store.list_tree("crops") == []
