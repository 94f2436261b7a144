"""Fetched ahead of its turn, gone after it: and what becomes of a clip, or of a run, whose files cannot be fetched."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lafid_assets.ingest import clip_prefetch as module
from lafid_assets.ingest.clip_prefetch import at_hand, map_footage, object_at
from lafid_assets.outcomes import ClipError, Reason
from lafid_assets.workers.pool import Children, Crashed, Done, NotFetched
from model.encoding.footage import Footage, Piece, RemoteFile, file_of
from resources.settings import Settings
from resources.store import s3_objects
from resources.store.s3_objects import BucketAway

LONG_S = 120.0


class Task(NamedTuple):
    footage: Footage | None
    does: str = "read"


def read(task: Task) -> str:
    """Runs in a child."""
    if task.does == "die":
        os._exit(3)
    return "" if task.footage is None else file_of(task.footage).read_text()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of `clip_prefetch`, which the environment names."""
    monkeypatch.setenv("LAFID_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def put(bucket: str, home: Path) -> Callable[[str, str], RemoteFile]:
    def one(key: str, content: str) -> RemoteFile:
        etag = s3_objects.client().put_object(Bucket=bucket, Key=key, Body=content.encode())["ETag"]
        return object_at(f"s3://{bucket}/{key}", len(content), etag)

    return one


def _map(tasks: list[Task], *, keep: bool = False) -> dict[int, Any]:
    return dict(map_footage(read, tasks, lambda _: LONG_S, footage_of=lambda task: task.footage, keep=keep))


def _there() -> list[str]:
    return sorted(path.name for path in Settings.from_environment().scratch.rglob("*.mp4"))


def test_each_task_has_its_file_and_it_goes_after(put: Any, tmp_path: Path) -> None:
    (tmp_path / "local.mp4").write_text("local")
    files = [put(f"{number}.mp4", f"n{number}") for number in range(12)]
    tasks = [Task(file) for file in files] + [Task(tmp_path / "local.mp4"), Task(None), Task(Piece(files[0], 0, 1, None))]
    found = _map(tasks)
    assert found == {number: Done(f"n{number}") for number in range(12)} | {12: Done("local"), 13: Done(""), 14: Done("n0")}
    assert _there() == []
    assert _map(tasks[:3], keep=True) == {number: Done(f"n{number}") for number in range(3)}
    assert _there() == ["0.mp4", "1.mp4", "2.mp4"]


def test_a_clip_whose_object_is_gone_or_another_costs_itself_alone(put: Any) -> None:
    good, gone, changed = (put(f"{name}.mp4", name) for name in "abc")
    s3_objects.client().delete_object(Bucket=gone.address.split("/")[2], Key="b.mp4")
    put("c.mp4", "another")
    found = _map([Task(gone), Task(good), Task(changed), Task(good, "die")])
    assert (found[1], found[3]) == (Done("a"), Crashed(3))
    assert isinstance(found[0], NotFetched)
    assert found[0].is_missing
    assert "is not there any more" in found[0].message
    assert isinstance(found[2], NotFetched)
    assert not found[2].is_missing
    assert "has changed since it was listed" in found[2].message


def test_a_bucket_that_is_gone_ends_the_run_and_no_clip(put: Any) -> None:
    good = put("a.mp4", "a")
    away = object_at("s3://no-such-bucket/b.mp4", 1, '"x"')
    with pytest.raises(BucketAway, match="no-such-bucket"):
        _map([Task(good), Task(away)])


def test_large_files_that_do_not_fit_together_come_one_after_the_other(put: Any, home: Path) -> None:
    (home / "lafid.toml").write_text("[sources]\nscratch_gb = 100e-9\n")
    files = [put(f"{number}.mp4", str(number) * (90 if number % 2 else 30)) for number in range(8)]
    found = _map([Task(file) for file in files])
    assert {index: ending.value[:1] for index, ending in found.items()} == {number: str(number) for number in range(8)}


def test_a_few_are_fetched_ahead_and_no_more(put: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_AHEAD", 2)
    files = [put(f"{number}.mp4", str(number)) for number in range(10)]
    endings = map_footage(
        read, [Task(file) for file in files], lambda _: LONG_S, Children(1), footage_of=lambda task: task.footage
    )
    next(endings)
    time.sleep(0.5)
    assert 1 <= len(_there()) <= 4
    endings.close()
    assert len(list(endings)) == 0


def test_one_file_for_a_block(put: Any, tmp_path: Path) -> None:
    with at_hand(put("a.mp4", "a")) as path:
        assert path.read_text() == "a"
    assert _there() == []
    with at_hand(tmp_path) as path:
        assert path == tmp_path
    gone = object_at(put("a.mp4", "a").address.replace("a.mp4", "b.mp4"), 1)
    with pytest.raises(ClipError, match="is not there any more") as error, at_hand(gone):
        pass
    assert error.value.reason == Reason.NOT_FETCHED
