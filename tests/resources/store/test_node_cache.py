"""A node's copies of a remote store: bounded, and nothing goes that is in use."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from resources.store.file_store import FileStore
from resources.store.node_cache import CacheBoundUnusable, CacheFull, StoreCache

HOLD = """
import sys
from pathlib import Path
from resources.store.node_cache import StoreCache
StoreCache(Path(sys.argv[1])).place(sys.argv[2])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def copies(tmp_path: Path) -> Callable[..., Path]:
    """Lays a copy of so many bytes, used so many seconds ago by a process that has ended."""

    def lay(unit: str, size_bytes: int, used_s_ago: float = 0.0) -> Path:
        path = tmp_path / "copies" / unit / "file.bin"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x" * size_bytes)
        used = tmp_path / "used" / unit.replace("/", "+")
        used.parent.mkdir(exist_ok=True)
        used.touch()
        os.utime(used, (time.time() - used_s_ago,) * 2)
        return path

    return lay


def test_what_was_not_used_for_longest_makes_room(
    tmp_path: Path, copies: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAFID_CACHE_GB", str(250e-9))
    old, older, new = copies("bases/old", 100, 50), copies("bases/older", 100, 90), copies("bases/new", 50)
    cache = StoreCache(tmp_path)
    cache.make_room(0, "nothing")
    assert older.is_file()
    cache.make_room(60, "a base")
    assert [path.is_file() for path in (older, old, new)] == [False, True, True]


def test_what_another_process_uses_stays(tmp_path: Path, copies: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAFID_CACHE_GB", str(100e-9))
    used, unused = copies("bases/used", 80, 90), copies("bases/unused", 10, 10)
    command = [sys.executable, "-c", HOLD, str(tmp_path), "bases/used/components"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(CacheFull, match=r"a base takes .*in use.*raise LAFID_CACHE_GB"):
            StoreCache(tmp_path).make_room(50, "a base")
        assert used.is_file()
        assert not unused.exists()
        other.kill()
        other.wait()
        StoreCache(tmp_path).make_room(50, "a base")
    assert not used.exists(), "a process that was killed holds nothing"


def test_own_copies_stay(tmp_path: Path, copies: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAFID_CACHE_GB", str(100e-9))
    own, cache = copies("bases/own", 80, 90), StoreCache(tmp_path)
    cache.place("bases/own")
    with pytest.raises(CacheFull):
        cache.make_room(50, "a base")
    assert own.is_file()


def test_file_is_a_unit_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAFID_CACHE_GB", str(10e-9))
    cache = StoreCache(tmp_path)
    path = cache.place("latents/clips.parquet")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"12345678")
    with pytest.raises(CacheFull):
        cache.make_room(5, "more")
    del cache
    for lock in Path("/proc/self/fd").iterdir():
        if str(lock.resolve()).startswith(str(tmp_path / "used")):
            os.close(int(lock.name))
    StoreCache(tmp_path).make_room(5, "more")
    assert not path.exists()


@pytest.mark.parametrize("told", ["much", "0", "-3"])
def test_bound_is_a_number(tmp_path: Path, copies: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, told: str) -> None:
    monkeypatch.setenv("LAFID_CACHE_GB", told)
    copies("bases/a", 1)
    with pytest.raises(CacheBoundUnusable, match="set it to the gigabytes"):
        StoreCache(tmp_path).make_room(1, "a base")


def test_two_processes_that_want_one_thing_fetch_it_once(bucket: str, tmp_path: Path) -> None:
    store = FileStore(f"s3://{bucket}/lafid", tmp_path / "node")
    store.write_bytes("bases/tiny/a.bin", b"x" * 1000)
    program = (
        "import sys; from pathlib import Path; from resources.store.file_store import FileStore; "
        "fetched = FileStore._download; FileStore._download = lambda s, p: (print('fetched', flush=True), fetched(s, p))[1]; "
        "FileStore(sys.argv[1], Path(sys.argv[2])).fetch('bases/tiny')"
    )
    command = [sys.executable, "-c", program, store.uri, str(tmp_path / "node")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(told) == ["", "fetched\n"]
