"""The store's files: whole or none, and the same on S3."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from resources.store.file_store import FileStore, StoreUnusable
from resources.transient_errors import is_transient

WRITE_AND_DIE = """
import os, signal, sys
from resources.store.file_store import FileStore
os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
FileStore(sys.argv[1]).write_bytes("reports/x.png", b"new")
"""

UPLOAD_AND_DIE = """
import os, signal, sys
from pathlib import Path
from resources.store.file_store import FileStore
class Dying:
    def __init__(self, fs):
        self.fs = fs
    def open_output_stream(self, path):
        self.stream = self.fs.open_output_stream(path)
        return self
    def __enter__(self):
        return self
    def __exit__(self, *_):
        self.stream.close()
    def write(self, content):
        self.stream.write(content[: 11 << 20])
        os.kill(os.getpid(), signal.SIGKILL)
store = FileStore(sys.argv[1], Path(sys.argv[2]))
store._fs = Dying(store._fs)
with store.writing("latents/shards/a.bin") as path:
    path.write_bytes(b"n" * (12 << 20))
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


@pytest.fixture
def remote(bucket: str, tmp_path: Path) -> Callable[[str], FileStore]:
    """The same store on S3 as the nodes of these names see it, each with a home of its own."""
    return lambda node: FileStore(f"s3://{bucket}/lafid", tmp_path / node)


def _lay(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)


def test_what_one_node_puts_another_fetches(remote: Callable[[str], FileStore]) -> None:
    one, two = remote("one"), remote("two")
    _lay(one.here("bases/tiny") / "parts", a__bin="weights")
    _lay(one.here("bases/tiny"), base__json="{}", empty="")
    one.put("bases/tiny")
    there = two.fetch("bases/tiny")
    assert there != one.here("bases/tiny")
    assert (there / "parts" / "a.bin").read_text() == "weights"
    assert two.fetch("bases/tiny/base.json").read_text() == "{}"
    assert (there / "empty").read_bytes() == b""
    assert not two.fetch("bases/other").exists()


def test_local_store_is_not_copied(store: FileStore) -> None:
    store.write_bytes("bases/tiny/a.bin", b"weights")
    assert store.fetch("bases/tiny") == store.here("bases/tiny") == Path(store.full_path("bases/tiny"))
    before = store.list_tree("")
    store.put("bases/tiny")
    with store.writing("bases/tiny/b.bin") as path:
        path.write_bytes(b"more")
    assert store.list_tree("") == [*before, "bases/tiny/b.bin"]


def test_what_is_here_and_unchanged_is_neither_fetched_nor_put_again(
    remote: Callable[[str], FileStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = remote("one"), remote("two")
    _lay(one.here("bases/tiny"), a__bin="old", b__bin="other")
    one.put("bases/tiny")
    two.fetch("bases/tiny")
    moved: list[str] = []
    for name in ("_download", "_upload"):
        monkeypatch.setattr(FileStore, name, _noting(moved, getattr(FileStore, name)))
    one.put("bases/tiny")
    two.fetch("bases/tiny")
    assert moved == []
    _lay(one.here("bases/tiny"), a__bin="newer")
    one.put("bases/tiny")
    assert (two.fetch("bases/tiny") / "a.bin").read_text() == "newer"
    assert moved == ["bases/tiny/a.bin"] * 2


def _noting(moved: list[str], work: Callable[..., None]) -> Callable[..., None]:
    def noted(store: FileStore, *arguments: Any) -> None:
        moved.append(arguments[-1])
        work(store, *arguments)

    return noted


def test_only_what_is_asked_for_is_fetched(remote: Callable[[str], FileStore]) -> None:
    one, two = remote("one"), remote("two")
    for name in ("a", "b", "kept"):
        one.write_bytes(f"latents/shards/{name}.bin", b"x")
    _lay(two.here("latents/shards"), kept__bin="own")
    two.fetch("latents/shards", only=["a.bin", "kept.bin"], without=["kept.bin"])
    assert sorted(path.name for path in two.here("latents/shards").iterdir()) == ["a.bin", "kept.bin"]
    assert (two.here("latents/shards") / "kept.bin").read_text() == "own"


def test_what_makes_a_folder_whole_comes_last(remote: Callable[[str], FileStore], monkeypatch: pytest.MonkeyPatch) -> None:
    store, put = remote("one"), []
    _lay(store.here("training_runs/a"), state__json="{}", weights__safetensors="1", __half="torn")
    monkeypatch.setattr(FileStore, "_upload", lambda self, source, path: (put.append(path), self.write_bytes(path, b""))[0])
    store.put("training_runs/a")
    assert put == ["training_runs/a/weights.safetensors", "training_runs/a/state.json"]


def test_killed_upload_leaves_the_object_before(remote: Callable[[str], FileStore], tmp_path: Path) -> None:
    store = remote("one")
    store.write_bytes("latents/shards/a.bin", b"old")
    ended = subprocess.run([sys.executable, "-c", UPLOAD_AND_DIE, store.uri, str(tmp_path / "one")], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert store.read_bytes("latents/shards/a.bin") == b"old"
    [left] = (tmp_path / "one").rglob("coming/*/a.bin")
    with store.writing("latents/shards/a.bin") as path:
        path.write_bytes(b"new")
    assert not left.exists(), "the next writer sweeps what the kill left"
    assert store.read_bytes("latents/shards/a.bin") == b"new"


def test_writer_that_fails_changes_nothing(remote: Callable[[str], FileStore]) -> None:
    store = remote("one")

    def half(path: Path) -> NoReturn:
        path.write_bytes(b"half")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), store.writing("latents/a.bin") as path:
        half(path)
    assert store.list_tree("") == []


def test_object_that_is_replaced_under_the_reader_is_not_mixed(
    remote: Callable[[str], FileStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = remote("one"), remote("two")
    one.write_bytes("bases/tiny/a.bin", b"old")

    def replacing(source: Any, target: Any, _: int) -> None:
        target.write(source.read())
        patched.undo()
        one.write_bytes("bases/tiny/a.bin", b"longer")

    with monkeypatch.context() as patched:
        patched.setattr("resources.store.file_store.shutil.copyfileobj", replacing)
        with pytest.raises(StoreUnusable, match=r"cannot fetch s3://.*/bases/tiny .*replaced while it was fetched") as caught:
            two.fetch("bases/tiny")
    assert is_transient(caught.value)
    assert not (two.here("bases/tiny") / "a.bin").exists()


def test_parts_of_a_file_are_read_where_it_lies(remote: Callable[[str], FileStore]) -> None:
    store = remote("one")
    store.write_bytes("latents/a.bin", b"0123456789")
    with store.opened("latents/a.bin") as file:
        file.seek(4)
        assert file.read(2) == b"45"
    assert store.sizes("latents") == {"latents/a.bin": 10}
    assert not store.here("latents/a.bin").exists()


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
