"""Files and folders appear whole or not at all."""

import fcntl
from pathlib import Path

import pytest

from model.files import FolderTaken, locked, require_free, sha256_folder, whole_file, whole_folder, write_whole


def write_half_and_fail(path: Path) -> None:
    path.write_text("half")
    raise FileNotFoundError


def test_a_broken_write_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(FileNotFoundError), whole_file(target) as temporary:
        write_half_and_fail(temporary)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_temporary_file_keeps_the_suffix(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a.mp4") as temporary:
        assert temporary.suffix == ".mp4"
        temporary.write_text("x")
    assert (tmp_path / "a.mp4").read_text() == "x"


def test_a_broken_folder_vanishes(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), whole_folder(tmp_path / "run") as temporary:
        write_half_and_fail(temporary / "part")
    assert list(tmp_path.iterdir()) == []


def test_a_folders_hash_knows_names_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    first = sha256_folder(tmp_path)
    (tmp_path / "a").write_text("2")
    second = sha256_folder(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    third = sha256_folder(tmp_path)
    assert len({first, second, third}) == 3
    (tmp_path / "aside").write_text("3")
    assert sha256_folder(tmp_path, {"b"}) == third


def test_a_folder_is_free_where_nothing_is(tmp_path: Path) -> None:
    require_free(tmp_path)
    require_free(tmp_path / "new")
    (tmp_path / "file").touch()
    for taken in (tmp_path, tmp_path / "file"):
        with pytest.raises(FolderTaken, match="is there already: name a folder that is not, or an empty one"):
            require_free(taken)


def test_text_and_bytes_take_the_place_of_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "new folder" / "words.txt"
    for content in ("größer", b"\x00"):
        write_whole(target, content)
        assert target.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert [path.name for path in target.parent.iterdir()] == ["words.txt"]


def test_nobody_else_is_at_a_locked_file(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "lock"
    with locked(path), path.open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
