"""A forgotten clip's own objects on S3 are found, told, deleted when asked for, and no copy of them stays."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lafid_assets.dataset.forget.raw_files import delete_own_files, fetched_copies, own_files
from lafid_assets.dataset.forget.subject import RawFile, Subject
from resources import s3_objects
from resources.scratch import Scratch, object_below


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


def test_copies_of_objects_in_every_state_are_found(subject_of: Callable[..., Subject], bucket: str, tmp_path: Path) -> None:
    folder = tmp_path / "scratch"
    for name, etag in (("a.mp4", None), ("a.mp4", '"0cc175b9c0f1b6a831c399e269772661"'), ("other.mp4", None)):
        with Scratch(folder, 1e6).holding(object_below(folder, f"s3://{bucket}/set/{name}", 1, etag), keep=True):
            pass
    assert [place.name[:32] for place in fetched_copies(subject_of(), folder)] == [
        object_below(folder, f"s3://{bucket}/set/a.mp4").path.parent.name[:32]
    ] * 2
