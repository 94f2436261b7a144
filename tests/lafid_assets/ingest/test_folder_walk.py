"""Walking a folder: what is seen, what is followed, and what is told."""

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lafid_assets.ingest import folder_walk
from lafid_assets.ingest.folder_walk import FILES, LAST_TIME_NS, NAME_NOT_UTF8, linked_folders, refusal, time_ns, walk


def _write(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())


def _walk(root: Path, folders: Collection[str] | None = None) -> list[str]:
    files = walk(root, lambda name: name.endswith(".mp4"), folders)
    assert dict(files.schema) == FILES
    assert files["path"].is_unique().all()
    return sorted(files["path"])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    return root


def test_files_have_their_size_and_time(root: Path) -> None:
    _write(root, "a.mp4", "deep/er/b.mp4", "notes.txt")
    os.utime(root / "a.mp4", ns=(1, 1_234_567_890_123_456_789))
    assert _walk(root) == ["a.mp4", "deep/er/b.mp4"]
    assert walk(root, lambda name: name == "a.mp4").rows() == [("a.mp4", 5, 1_234_567_890_123_456_789, None)]


def test_hidden_files_and_folders_are_left_out_but_not_what_lies_below_a_hidden_root(tmp_path: Path) -> None:
    _write(tmp_path / ".root", "a.mp4", "._a.mp4", ".mp4", ".trash/b.mp4")
    assert _walk(tmp_path / ".root") == ["a.mp4"]


def test_only_the_named_folders_are_walked(root: Path, tmp_path: Path) -> None:
    _write(root, "a.mp4", "clips/clips/b.mp4", "clips/frames/c.mp4", "frames/d.mp4")
    _write(tmp_path, "disk/e.mp4", "junk/f.mp4")
    (root / "more").symlink_to(tmp_path / "disk")
    (root / "other").symlink_to(tmp_path / "junk")
    assert _walk(root, {"clips", "more"}) == ["a.mp4", "clips/clips/b.mp4", "clips/frames/c.mp4", "more/e.mp4"]


def test_foreign_letters_cost_their_own_file_alone(root: Path) -> None:
    _write(root, "ok.mp4", "é.mp4", "caf\\xe9.mp4")
    (root / os.fsdecode(b"caf\xe8.mp4")).write_bytes(b"12")
    (root / os.fsdecode(b"caf\xe9.mp4")).write_bytes(b"its spelling is the name of another")
    (root / os.fsdecode(b"d\xff")).mkdir()
    (root / os.fsdecode(b"d\xff/in.mp4")).write_bytes(b"123")
    assert _walk(root) == ["caf\\xe8.mp4", "caf\\xe9.mp4", "d\\xff/in.mp4", "ok.mp4", "é.mp4"]
    faults = {path: (size, fault) for path, size, _, fault in walk(root, lambda name: True).rows()}
    assert faults["caf\\xe8.mp4"] == (2, NAME_NOT_UTF8)
    assert faults["d\\xff/in.mp4"] == (3, NAME_NOT_UTF8)
    assert faults["caf\\xe9.mp4"] == (11, None)
    assert faults["é.mp4"][1] is None


def test_many_files_come_in_several_pieces(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_walk, "_CHUNK", 2)
    _write(root, *(f"{i}.mp4" for i in range(5)))
    assert _walk(root) == [f"{i}.mp4" for i in range(5)]
    assert walk(root, lambda name: True)["path"].n_chunks() == 3


def test_empty_folder_has_no_files(root: Path) -> None:
    assert _walk(root) == []


def test_linked_folders_are_followed_once(root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _write(tmp_path, "disk/a.mp4", "disk/deep/b.mp4")
    (root / "one").symlink_to(tmp_path / "disk")
    (root / "two").symlink_to(tmp_path / "disk" / "deep")
    _write(tmp_path, "beside/disk/c.mp4", "beside/d.mp4")
    (root / "three").symlink_to(tmp_path / "beside" / "disk")
    (tmp_path / "beside" / "disk" / "up").symlink_to(tmp_path / "beside")
    assert _walk(root) == ["one/a.mp4", "one/deep/b.mp4", "three/c.mp4"]
    assert "two (its files are listed already)" in caplog.text
    assert "three/up (leads back to where it lies)" in caplog.text


def test_a_link_to_a_folder_around_one_that_is_listed_brings_only_the_rest(root: Path, tmp_path: Path) -> None:
    _write(tmp_path, "disk/a.mp4", "disk/deep/b.mp4")
    (root / "one").symlink_to(tmp_path / "disk" / "deep")
    (root / "two").symlink_to(tmp_path / "disk")
    assert _walk(root) == ["one/b.mp4", "two/a.mp4"]


def test_a_link_elsewhere_does_not_lead_back(tmp_path: Path) -> None:
    _write(tmp_path, "home/root/a.mp4", "home/beside.mp4", "disk/b.mp4")
    (tmp_path / "home" / "root" / "linked").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "home").symlink_to(tmp_path / "home")
    assert _walk(tmp_path / "home" / "root") == ["a.mp4", "linked/b.mp4"]


def test_a_folder_goes_before_a_link_to_it(root: Path) -> None:
    _write(root, "z/a.mp4")
    (root / "a").symlink_to(root / "z")
    assert _walk(root) == ["z/a.mp4"]


@pytest.mark.parametrize("target", [".", "..", "/"])
def test_link_to_what_holds_it_is_told_and_not_followed(root: Path, target: str, caplog: pytest.LogCaptureFixture) -> None:
    _write(root, "a.mp4", "../beside.mp4")
    (root / "up").symlink_to(target)
    assert _walk(root) == ["a.mp4"]
    assert f"not read below {root}: up (leads back to where it lies)" in caplog.text


def test_link_of_somebody_else_is_told_and_not_followed(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path, "theirs/a.mp4")
    (root / "link").symlink_to(tmp_path / "theirs")
    lstat = os.lstat

    def foreign(path: Any, **keywords: Any) -> os.stat_result:
        facts = lstat(path, **keywords)
        is_link = Path(path).name == "link"
        return os.stat_result((*facts[:4], 4321, *facts[5:])) if is_link else facts

    monkeypatch.setattr(os, "lstat", foreign)
    assert refusal(root, root / "link") == "a link that somebody else made"
    assert linked_folders(root, "link/a.mp4") == []
    assert _walk(root) == []
    assert "link (a link that somebody else made)" in caplog.text


def test_broken_links_are_told_and_a_broken_file_has_no_size(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / "gone").symlink_to("nowhere")
    (root / "loop.mp4").symlink_to("loop.mp4")
    assert walk(root, lambda name: name.endswith(".mp4")).rows() == [("loop.mp4", None, None, None)]
    assert "gone (a link to nowhere: No such file or directory)" in caplog.text
    assert "loop.mp4 (a link to nowhere" in caplog.text


def test_many_that_are_not_read_are_counted(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    for i in range(7):
        (root / f"gone{i}").symlink_to("nowhere")
    assert _walk(root) == []
    assert "and 2 more" in caplog.text


def test_linked_file_has_the_size_of_its_target(root: Path) -> None:
    _write(root, "a.bin")
    (root / "a.mp4").symlink_to("a.bin")
    assert walk(root, lambda name: name.endswith(".mp4"))["size_bytes"].to_list() == [5]


def test_folder_that_cannot_be_read_is_told_and_others_are(
    root: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(root, "a.mp4", "locked/b.mp4")
    scandir = os.scandir

    def refuse(path: str) -> Any:
        if path.endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert _walk(root) == ["a.mp4"]
    assert "locked (Permission denied)" in caplog.text


def test_file_that_goes_while_we_walk_is_none(
    root: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(root, "a.mp4", "b.mp4", "copying.mp4")
    scandir = os.scandir

    @contextmanager
    def losing(path: str) -> Iterator[list[os.DirEntry[str]]]:
        with scandir(path) as entries:
            listed = sorted(entries, key=lambda entry: entry.name, reverse=True)
        (root / "copying.mp4").unlink()
        yield listed

    monkeypatch.setattr(os, "scandir", losing)
    assert _walk(root) == ["a.mp4", "b.mp4"]
    assert not caplog.text


def test_root_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        walk(tmp_path / "none", lambda name: True)


def test_pipe_blocks_nobody(root: Path) -> None:
    os.mkfifo(root / "pipe.mp4")
    assert _walk(root) == ["pipe.mp4"]


def test_a_way_through_links_ends_at_the_first_that_is_not_followed(root: Path, tmp_path: Path) -> None:
    _write(tmp_path, "disk/a.mp4", "far/b.mp4")
    (root / "in").symlink_to(tmp_path / "disk")
    (root / "up").symlink_to(tmp_path)
    (tmp_path / "disk" / "on").symlink_to(tmp_path / "far")
    (tmp_path / "door").symlink_to(tmp_path / "far")
    assert linked_folders(root, "a.mp4") == []
    assert linked_folders(root, "in/a.mp4") == [tmp_path / "disk"]
    assert linked_folders(root, "in/on/b.mp4") == [tmp_path / "disk", tmp_path / "far"]
    assert linked_folders(root, "up/door/b.mp4") == []


def test_a_time_that_no_table_can_hold_costs_nobody_anything(root: Path) -> None:
    _write(root, "a.mp4", "late.mp4")
    os.utime(root / "late.mp4", (0, 10_500_000_000))
    times = dict(walk(root, lambda name: True).select("path", "mtime_ns").rows())
    assert times["late.mp4"] == LAST_TIME_NS == time_ns(os.stat(root / "late.mp4"))
    assert times["a.mp4"] == os.stat(root / "a.mp4").st_mtime_ns
