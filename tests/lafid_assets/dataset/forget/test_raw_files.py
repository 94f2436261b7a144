"""A forgotten clip's own objects on S3 are found, and deleted when that is asked for."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lafid_assets.dataset.forget.elsewhere import delete_own_files, own_files
from lafid_assets.dataset.forget.erase import ForgetIncomplete
from lafid_assets.dataset.forget.subject import RawFile, Subject, identify
from resources.store import s3_objects


@pytest.fixture
def subject_of(bucket: str, tmp_path: Path) -> Callable[..., Subject]:
    """Somebody with an object, a file, and a row of a table that has neither."""
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "b.mp4").write_bytes(b"b")
    for name in ("a.mp4", "other.mp4"):
        s3_objects.client().put_object(Bucket=bucket, Key=f"set/{name}", Body=b"a")
    places = [(f"s3://{bucket}/set", "a.mp4"), (f"s3://{bucket}/set", "gone.mp4"), (str(tmp_path / "local"), "b.mp4")]
    files = tuple(RawFile(clip_root=root, path=path, named_by=path) for root, path in places)
    return lambda: Subject.model_construct(raw_files=files)


def test_own_objects_and_files_are_found_and_deleted(subject_of: Callable[..., Subject], bucket: str, tmp_path: Path) -> None:
    found = [f"s3://{bucket}/set/a.mp4", str(tmp_path / "local" / "b.mp4")]
    assert own_files(subject_of()) == found
    assert list(delete_own_files(subject_of())) == found
    assert own_files(subject_of()) == []
    assert [item.key for item in s3_objects.list_objects(f"s3://{bucket}/set/")] == ["set/other.mp4"]


def test_nothing_that_was_fetched_stays(installation: Any, erase: Callable[..., Any]) -> None:
    """Tables are among it: scrubbed ones would be taken for what the prefix says."""
    scratch = installation.settings.scratch
    subject = identify(installation.lake, [installation.clip("a")], [], delete_files=False)
    table = scratch / "table-state" / "OpenHumanVid_part_001.csv"
    table.parent.mkdir(parents=True)
    table.write_text(installation.clip("a"))
    done = erase(installation, subject, dry_run=True)
    assert str(scratch) in done.removed
    assert str(table) not in done.rewritten
    with _held(table.parent), pytest.raises(ForgetIncomplete, match="another process reads .*table-state: end it"):
        erase(installation, subject)
    erase(installation, subject)
    assert list(scratch.iterdir()) == []


@contextmanager
def _held(place: Path) -> Iterator[None]:
    descriptor = os.open(place, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    try:
        yield
    finally:
        os.close(descriptor)
