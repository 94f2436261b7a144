"""Who commits is alone, and neither a reader that never ends nor a stream of them keeps the others off."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest

from resources.lake import catalog_lock as module
from resources.lake.catalog_lock import CatalogInUse, CatalogLock

HOLD = """
import sys; from pathlib import Path; from resources.lake.catalog_lock import CatalogLock
with CatalogLock(Path(sys.argv[1])).held(alone=False):
    print("reads", flush=True); sys.stdin.read()
"""


@pytest.fixture
def endless_reader(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that reads, as one does that was stopped in a debugger or by Ctrl-Z."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "catalog.sqlite")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "reads\n"
        yield process
        process.kill()


def test_readers_pass_a_writer_that_waits_for_one_that_never_ends(
    tmp_path: Path, endless_reader: "subprocess.Popen[str]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLOSED_S", 0.2)
    lock, done = CatalogLock(tmp_path / "catalog.sqlite"), Event()

    def write() -> None:
        with lock.held(alone=True):
            done.set()

    writer = Thread(target=write)
    writer.start()
    time.sleep(0.1)  # the gate is closed now
    begun = time.monotonic()
    for _ in range(3):
        with lock.held(alone=False):
            assert not done.is_set()
    assert time.monotonic() - begun < module.PATIENCE_S / 4
    endless_reader.kill()
    writer.join(module.PATIENCE_S / 4)
    assert done.is_set()


def test_readers_that_overlap_do_not_keep_a_writer_off(tmp_path: Path) -> None:
    lock, over, written = CatalogLock(tmp_path / "catalog.sqlite"), Event(), Event()

    def read_on() -> None:
        while not over.is_set():
            with lock.held(alone=False):
                time.sleep(0.05)

    readers = [Thread(target=read_on) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        with lock.held(alone=True):
            written.set()
    finally:
        over.set()
        for reader in readers:
            reader.join()
    assert written.is_set()


def test_a_writer_gives_up_at_last_also_one_that_waits_behind_another(
    tmp_path: Path, endless_reader: "subprocess.Popen[str]", monkeypatch: pytest.MonkeyPatch
) -> None:
    assert endless_reader.poll() is None
    monkeypatch.setattr(module, "PATIENCE_S", 1.0)
    monkeypatch.setattr(module, "CLOSED_S", 0.2)
    lock, given_up = CatalogLock(tmp_path / "catalog.sqlite"), []

    def write() -> None:
        try:
            with lock.held(alone=True):
                pass
        except CatalogInUse:
            given_up.append(time.monotonic())

    writers = [Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(given_up) == 2
    with lock.held(alone=False):
        pass
