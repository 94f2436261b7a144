"""The child's side of `raw_clips`: a file's fault is its status, and so is the end of the child."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lafid_assets.ingest.clip_probe import LEAST_DEADLINE_S, ProbedClip, ProbeTask, probe_clip, probed
from lafid_assets.ingest.media_probe import content_sha256
from lafid_assets.outcomes import REASONS, Reason, Status
from lafid_assets.workers.pool import Crashed, Done, Failed, OutOfMemory, TimedOut


def _task(root: Path, path: str, **changed: Any) -> ProbeTask:
    return ProbeTask(**{"clip_root": str(root), "path": path, "in_table": True, "size_bytes": 0} | changed)


def test_good_file_gives_its_facts(tmp_path: Path, write_video: Callable[..., Path]) -> None:
    path = write_video(tmp_path / "a.mp4")
    found = probe_clip(_task(tmp_path, "a.mp4"))
    assert (found.status, found.reason, found.content_sha256) == (Status.OK, None, content_sha256(path))
    assert found.facts is not None
    assert found.facts.frame_count == 10


def test_file_without_a_row_is_hashed_and_not_opened(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    found = probe_clip(_task(tmp_path, "a.mp4", in_table=False))
    assert (found.status, found.reason, found.file_size_bytes, found.facts) == (Status.SKIPPED, Reason.NO_ROW, 8, None)


def test_file_that_the_disk_does_not_give_back_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> str:
        raise OSError(5, "Input/output error")

    (tmp_path / "a.mp4").write_bytes(b"video")
    monkeypatch.setattr("lafid_assets.ingest.clip_probe.content_sha256", fail)
    found = probe_clip(_task(tmp_path, "a.mp4"))
    assert (found.status, found.reason) == (Status.ERROR, Reason.UNREADABLE)
    assert "Input/output error" in str(found.detail)


def test_fault_keeps_size_and_hash(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    found = probe_clip(_task(tmp_path, "a.mp4"))
    assert (found.reason, found.file_size_bytes) == (Reason.UNREADABLE, 8)
    assert found.content_sha256 == content_sha256(tmp_path / "a.mp4")


@pytest.mark.parametrize(
    ("ending", "reason", "told"),
    [
        (Failed("KeyError: 3"), Reason.UNREADABLE, "KeyError: 3"),
        (Crashed(-11), Reason.CRASHED, "exit code -11"),
        (OutOfMemory(5 << 20), Reason.MEMORY_LIMIT, "5 MiB"),
        (TimedOut(7.0), Reason.DEADLINE, "7 s"),
    ],
)
def test_end_of_the_child_is_the_files_outcome(ending: Any, reason: Reason, told: str) -> None:
    found = probed(ending)
    assert found.reason == reason
    assert reason in REASONS[found.status]
    assert told in str(found.detail)


def test_answer_is_handed_on() -> None:
    clip = ProbedClip(Status.SKIPPED, Reason.FILE_MISSING, "gone")
    assert probed(Done(clip)) == clip


def test_large_files_get_time_to_be_read() -> None:
    assert _task(Path(), "a").deadline_s == LEAST_DEADLINE_S
    assert _task(Path(), "a", size_bytes=10**9).deadline_s > 2 * LEAST_DEADLINE_S
