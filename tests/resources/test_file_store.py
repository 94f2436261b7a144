"""The store's files: whole or none, and the same on S3."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from resources.file_store import FileStore, StoreUnusable
from resources.transient import is_transient

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


@pytest.mark.parametrize("place", ["local", "s3"])
def test_asking_whether_it_may_be_written_leaves_nothing(request: pytest.FixtureRequest, store: FileStore, place: str) -> None:
    if place == "s3":
        store = FileStore(f"s3://{request.getfixturevalue('bucket')}/lafid")
    store.refuse_unwritable()
    assert store.list_tree("") == []
    assert place == "s3" or not Path(store.uri).exists()


@pytest.mark.rights
def test_a_store_that_may_not_be_written_is_named(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(store.uri)
    folder.mkdir(parents=True)
    folder.chmod(0o500)
    if os.geteuid() == 0:  # whom rights do not bind
        monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(
        StoreUnusable, match=r"cannot write into the store .* may not be written\): make it writable, or set LAFID_S"
    ):
        store.refuse_unwritable()
    folder.chmod(0o700)


def test_a_bucket_that_is_not_there_and_one_that_does_not_answer_are_named(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreUnusable, match=r"cannot write into the store s3://no-such-bucket/lafid .*NoSuchBucket"):
        FileStore("s3://no-such-bucket/lafid").refuse_unwritable()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StoreUnusable, match="Could not connect to the endpoint") as away:
        FileStore(f"s3://{bucket}/lafid").refuse_unwritable()
    assert is_transient(away.value)


def test_a_small_file_is_one_request_to_s3(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from werkzeug.serving import WSGIRequestHandler

    asked: list[str] = []
    monkeypatch.setattr(WSGIRequestHandler, "log_request", lambda handler, *_: asked.append(handler.command))
    store = FileStore(f"s3://{bucket}/lafid")
    store.write_bytes("ledger/part", b"rows")
    assert asked == ["PUT"]
    del asked[:]
    store.refuse_unwritable()
    assert asked == ["POST", "DELETE"]
