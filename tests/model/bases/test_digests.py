"""The hash of a base is computed when a file changed, and by one process."""

import errno
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

import model.bases.digests
from model.bases.digests import base_digest, component_digests
from model.files import sha256_file, sha256_folder

CHILD = """
import sys
from pathlib import Path
import model.bases.digests as digests

real = digests.sha256_file
def counted(path):
    print(path.name)
    return real(path)
digests.sha256_file = counted
digests.component_digests(Path(sys.argv[1]))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two components whose files have not changed for a minute."""
    for name in ("transformer/weights", "transformer/config.json", "vae/weights"):
        path = tmp_path / "components" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        _age(path)
    return tmp_path


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are read to be hashed."""
    names: list[str] = []

    def counted(path: Path) -> str:
        names.append(f"{path.parent.name}/{path.name}")
        return sha256_file(path)

    monkeypatch.setattr(model.bases.digests, "sha256_file", counted)
    return names


def test_what_did_not_change_is_not_read_again(folder: Path, read: list[str]) -> None:
    first = component_digests(folder)
    assert first == {name: sha256_folder(folder / "components" / name) for name in ("transformer", "vae")}
    assert len(read) == 3
    assert component_digests(folder) == first
    assert len(read) == 3


def test_a_change_of_size_or_time_is_found(folder: Path, read: list[str]) -> None:
    before = component_digests(folder)
    weights = folder / "components" / "vae" / "weights"
    weights.write_text("vae/WEIGHTS")
    changed = component_digests(folder)
    assert read[3:] == ["vae/weights"]
    assert changed["vae"] != before["vae"]
    assert base_digest(changed) != base_digest(before)
    assert component_digests(folder) == changed
    assert len(read) == 5, "what changed a moment ago may change again within a tick of the clock"
    _age(weights)
    component_digests(folder)
    (folder / "components" / "transformer" / "config.json").unlink()
    assert component_digests(folder)["transformer"] != before["transformer"]
    assert len(read) == 6


def test_a_torn_record_is_made_anew(folder: Path, read: list[str]) -> None:
    before = component_digests(folder)
    (folder / "digests.json").write_text('{"vae')
    assert component_digests(folder) == before
    assert component_digests(folder) == before
    assert len(read) == 6


@pytest.mark.rights
def test_a_folder_that_cannot_be_written_is_hashed_all_the_same(folder: Path, read: list[str]) -> None:
    folder.chmod(0o500)
    try:
        assert component_digests(folder) == component_digests(folder)
    finally:
        folder.chmod(0o700)
    assert (folder / "digests.json").exists() == (os.geteuid() == 0)


def test_on_a_full_disk_it_is_hashed_all_the_same(folder: Path, read: list[str]) -> None:
    """The kernel refuses to let the record grow."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, before[1]))
    try:
        whole = component_digests(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert component_digests(folder) == whole
    assert component_digests(folder) == whole
    assert len(read) == 6, "the second time what was not kept is read again, and kept"


def test_where_nothing_can_be_locked_it_is_hashed_all_the_same(
    folder: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lustre and some network file systems are mounted without locks."""
    whole = component_digests(folder)

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("model.bases.digests.fcntl.flock", refuse)
    assert component_digests(folder) == whole
    assert len(read) == 6


def test_of_several_processes_one_computes(folder: Path) -> None:
    command = [sys.executable, "-c", CHILD, str(folder)]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    read = [line for child in children for line in child.communicate()[0].splitlines()]
    assert all(child.returncode == 0 for child in children)
    assert sorted(read) == ["config.json", "weights", "weights"]


def _age(path: Path) -> None:
    then = time.time() - 60
    os.utime(path, (then, then))
