"""The folder of fetched files: each fetched once, whole or not at all, bounded, and nothing in use ever removed."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model.encoding.footage import RemoteFile
from resources.store import s3_objects, scratch
from resources.store.s3_objects import NotWanted, ObjectUnreadable
from resources.store.scratch import Scratch, object_below, places_in

MUCH = 1e9


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "scratch"


@pytest.fixture
def put(bucket: str, folder: Path) -> Callable[[str, bytes], RemoteFile]:
    """Puts an object, and says where it will lie."""

    def one(key: str, content: bytes) -> RemoteFile:
        etag = s3_objects.client().put_object(Bucket=bucket, Key=key, Body=content)["ETag"]
        return object_below(folder, f"s3://{bucket}/{key}", len(content), etag)

    return one


@pytest.fixture
def fetches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses of the objects that were fetched."""
    asked: list[str] = []
    fetch = s3_objects.fetch

    def told(address: str, *rest: Any) -> None:
        asked.append(address)
        fetch(address, *rest)

    monkeypatch.setattr(s3_objects, "fetch", told)
    return asked


def _there(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file() and path.name != ".alone"}


def test_a_file_is_fetched_once_kept_or_dropped(put: Any, folder: Path, fetches: list[str]) -> None:
    file, kept = put("set/a.mp4", b"a"), Scratch(folder, MUCH)
    for _ in range(2):
        with kept.holding(file, keep=True) as path:
            assert (path.name, path.read_bytes()) == ("a.mp4", b"a")
    assert fetches == [file.address]
    with kept.holding(file):
        pass
    assert list(folder.glob("*-*")) == []


@pytest.mark.parametrize("key", ["x" * 300 + ".mp4", "." + "ä" * 200, "a." + "b" * 200, ".."])
def test_a_name_that_no_disk_holds_is_shortened(put: Any, folder: Path, key: str) -> None:
    with Scratch(folder, MUCH).holding(put(f"set/{key}", b"a")) as path:
        assert path.read_bytes() == b"a"


def test_the_oldest_goes_and_what_is_held_never(put: Any, folder: Path) -> None:
    files = [put(f"{name}.mp4", name.encode() * 40) for name in "abcd"]
    kept = Scratch(folder, 100)
    held = kept.hold(files[0])
    for file in files[1:3]:
        with kept.holding(file, keep=True):
            pass
    assert _there(folder) == {"a.mp4", "c.mp4"}
    kept.drop(files[0])
    assert files[0].path.is_file(), "somebody reads it"
    time.sleep(0.05)  # a file system's clock ticks
    kept.release(held, keep=True)
    with kept.holding(files[3], keep=True):
        pass
    assert _there(folder) == {"a.mp4", "d.mp4"}, "a was let go of later than c"


def test_who_finds_no_room_waits_for_it(put: Any, folder: Path) -> None:
    first, second = put("a.mp4", b"a" * 60), put("b.mp4", b"b" * 60)
    kept = Scratch(folder, 100)
    held = kept.hold(first)
    waiting = threading.Thread(target=lambda: kept.release(kept.hold(second), keep=True))
    waiting.start()
    time.sleep(0.5)
    assert _there(folder) == {"a.mp4"}
    kept.release(held, keep=True)
    waiting.join(20)
    assert _there(folder) == {"b.mp4"}
    with kept.holding(first), pytest.raises(NotWanted):
        kept.hold(second, lambda: False)


def test_a_file_that_is_larger_than_the_folder_says_what_to_raise(put: Any, folder: Path) -> None:
    with pytest.raises(ObjectUnreadable, match=r"a.mp4 has .* GB, .*: raise scratch_gb in \[sources\]"):
        Scratch(folder, 3).hold(put("a.mp4", b"four"))
    assert list(folder.glob("*-*")) == []


def test_what_nobody_asked_for_since_yesterday_goes_though_there_is_room(
    put: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "MOST_NOTED_S", 0.0)
    old, new = put("old.mp4", b"o"), put("new.mp4", b"n")
    kept = Scratch(folder, MUCH)
    with kept.holding(old, keep=True):
        pass
    long_ago = time.time() - scratch.MOST_IDLE_S - 1
    os.utime(old.path.parent, (long_ago, long_ago))
    with kept.holding(new, keep=True):
        pass
    assert _there(folder) == {"new.mp4"}


def test_an_object_in_another_state_is_another_file(put: Any, folder: Path) -> None:
    first = put("a.mp4", b"one")
    kept = Scratch(folder, MUCH)
    with kept.holding(first, keep=True):
        second = put("a.mp4", b"two")
        with kept.holding(second, keep=True) as path:
            assert path.read_bytes() == b"two"
        assert first.path.read_bytes() == b"one"
    assert len(places_in(folder)) == 2
    kept.drop(first)
    with pytest.raises(ObjectUnreadable, match="has changed"):
        kept.hold(first)


_HOLDER = """
import os, sys, time
from pathlib import Path
from resources.store import s3_objects
from resources.store.scratch import Scratch, object_below
address, folder, told, slow = sys.argv[1:]
fetch = s3_objects.fetch
def slowly(address, target, *rest):
    if slow == "slow":
        Path(target).write_bytes(b"ha")
        Path(told).write_text("fetching")
        time.sleep(3600)
    Path(told + str(os.getpid())).write_text("fetched")
    time.sleep(0.5)
    fetch(address, target, *rest)
s3_objects.fetch = slowly
kept = Scratch(Path(folder), 1e9)
held = kept.hold(object_below(Path(folder), address, 4))
print(held.file.path.read_text(), flush=True)
"""


def _start(file: RemoteFile, folder: Path, told: Path, how: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", _HOLDER, file.address, str(folder), str(told), how]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_that_want_one_file_fetch_it_once(put: Any, folder: Path, tmp_path: Path) -> None:
    file = put("a.mp4", b"four")
    both = [_start(file, folder, tmp_path / "told ", "quick") for _ in range(2)]
    assert [process.communicate(timeout=900)[0] for process in both] == ["four\n"] * 2
    assert len(list(tmp_path.glob("told *"))) == 1


def test_a_fetch_that_is_killed_leaves_nothing_half_and_holds_up_nobody(put: Any, folder: Path, tmp_path: Path) -> None:
    file = object_below(folder, put("a.mp4", b"four").address, 4)
    process = _start(file, folder, tmp_path / "told", "slow")
    while not (tmp_path / "told").is_file():
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not file.path.exists()
    assert len(_there(folder)) == 1, "half a file under another name"
    with Scratch(folder, MUCH).holding(file, keep=True) as path:
        assert path.read_bytes() == b"four"
    assert _there(folder) == {"a.mp4"}


def test_a_file_that_somebody_removed_by_hand_is_fetched_again(put: Any, folder: Path, fetches: list[str]) -> None:
    file, kept = put("a.mp4", b"a"), Scratch(folder, MUCH)
    held = kept.hold(file)
    file.path.unlink()
    kept.release(held, keep=True)
    with kept.holding(file) as path:
        assert path.read_bytes() == b"a"
    assert len(fetches) == 2


def test_not_every_fetch_looks_through_the_folder(put: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    free = Scratch._free
    monkeypatch.setattr(Scratch, "_free", lambda self, wanted: looks.append(wanted) or free(self, wanted))
    files = [put(f"{number}.mp4", b"x" * 10) for number in range(13)]
    for file in files[:10]:
        with Scratch(folder, 100).holding(file, keep=True):
            pass
    assert len(looks) == 1
    for file in files[10:]:
        with Scratch(folder, 100).holding(file, keep=True):
            pass
    assert len(_there(folder)) <= 10
    with Scratch(folder, 50).holding(files[0], keep=True):
        pass
    assert len(_there(folder)) <= 5, "another bound counts at once"
