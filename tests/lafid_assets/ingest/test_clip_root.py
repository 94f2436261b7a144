"""A prefix on S3 is listed as the same files in a folder are, in both layouts, and says what is wrong in the same words."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from lafid_assets.ingest.clip_root import root_at
from lafid_assets.ingest.listing import LISTED, list_files
from lafid_assets.ingest.provenance import SourceUnusable
from resources.store import s3_objects
from resources.store.s3_objects import BucketAway

ID = "0123456789abcdef0123456789abcdef"
OTHER = "f" * 32
CSV = f"clip_id,path,caption,aesthetic\n{ID},clips/part_001/01/23/{ID},text,5\n{OTHER},clips/part_001/ff/ff/{OTHER},gone,4\n"

Upload = Callable[[Path], str]


@pytest.fixture
def upload(bucket: str) -> Upload:
    """Puts a folder's files below a prefix, and gives its address."""

    def all_of(folder: Path) -> str:
        for path in folder.rglob("*"):
            if path.is_file():
                key = f"set/{path.relative_to(folder).as_posix()}"
                s3_objects.client().put_object(Bucket=bucket, Key=key, Body=path.read_bytes())
        return f"s3://{bucket}/set"

    return all_of


def _write(root: Path, **files: bytes) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _same(folder: Path, address: str) -> pl.DataFrame:
    """The listing of the prefix, equal to that of the folder but for what only one of them has."""
    local, remote = list_files(folder), list_files(address)
    assert remote.schema == LISTED
    own = ["clip_root", "mtime_ns", "etag"]
    assert remote.drop(own).equals(local.drop(own))
    assert set(remote["clip_root"]) == {address}
    return remote


def test_a_plain_prefix_comes_whole(tmp_path: Path, upload: Upload) -> None:
    _write(tmp_path, **{"b.mp4": b"b", "a/deep.MOV": b"aa", ".hidden/c.mp4": b"c", "notes.txt": b"n", "._b.mp4": b"x"})
    found = _same(tmp_path, upload(tmp_path))
    assert found["path"].to_list() == ["a/deep.MOV", "b.mp4"]
    assert found["etag"].null_count() == found["mtime_ns"].null_count() == 0


def test_the_released_layout_is_joined_with_its_tables(tmp_path: Path, upload: Upload) -> None:
    _write(
        tmp_path,
        **{
            "OpenHumanVid_part_001.csv": CSV.encode(),
            f"clips/part_001/01/23/{ID}.mp4": b"clip",
            "clips/part_001/spare.mp4": b"spare",
            "elsewhere/x.mp4": b"not walked",
            "lafid_source.json": b'{"source": "ours", "licence": "CC-BY-4.0"}',
        },
    )
    found = _same(tmp_path, upload(tmp_path))
    assert found["in_table"].to_list() == [True, False, True]
    assert set(found["source"]) == {"ours"}


def test_names_that_no_folder_could_hold_are_left_and_told(bucket: str, caplog: pytest.LogCaptureFixture) -> None:
    for key in ("set/a.mp4", "set/../up.mp4", "set/x//y.mp4", "set/folder/", "settled.mp4"):
        s3_objects.client().put_object(Bucket=bucket, Key=key, Body=b"x")
    assert list_files(f"s3://{bucket}/set/")["path"].to_list() == ["a.mp4"]
    assert f"not read below s3://{bucket}/set: set/../up.mp4, set/x//y.mp4: no file could be named so" in caplog.text


def test_a_whole_bucket_is_a_place(bucket: str) -> None:
    s3_objects.client().put_object(Bucket=bucket, Key="a.mp4", Body=b"x")
    assert list_files(f"s3://{bucket}").select("clip_root", "path").row(0) == (f"s3://{bucket}", "a.mp4")


def test_what_cannot_be_used_is_named(bucket: str) -> None:
    address = f"s3://{bucket}/set"
    with pytest.raises(SourceUnusable, match=f"^{address} holds neither OpenHumanVid_part_.* nor a video file"):
        list_files(address)
    s3_objects.client().put_object(Bucket=bucket, Key="set/OpenHumanVid_part_001.csv", Body=b"clip_id,path\na,b\n")
    with pytest.raises(SourceUnusable, match=f"^the table {address}/OpenHumanVid_part_001.csv has no column caption"):
        list_files(address)
    s3_objects.client().put_object(Bucket=bucket, Key="set/OpenHumanVid_part_001.csv", Body=CSV.encode())
    with pytest.raises(SourceUnusable, match=f"^{address}/clips is not there or holds no clip, and the tables name 2"):
        list_files(address)
    for nowhere in ("s3://", "s3:///set"):
        with pytest.raises(SourceUnusable, match=f"^{nowhere} names no bucket: write s3://bucket/prefix$"):
            list_files(nowhere)
    with pytest.raises(BucketAway, match="cannot read s3://no-such-bucket/"):
        list_files("s3://no-such-bucket/set")


def test_a_table_is_fetched_once_for_many_looks(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    s3_objects.client().put_object(Bucket=bucket, Key="set/OpenHumanVid_part_001.csv", Body=CSV.encode())
    fetch, fetched = s3_objects.fetch, list[str]()
    monkeypatch.setattr(s3_objects, "fetch", lambda address, *rest: fetched.append(address) or fetch(address, *rest))
    for _ in range(2):
        root = root_at(f"s3://{bucket}/set")
        [name] = root.tables()["path"]
        with root.table(name) as path:
            assert path.read_text() == CSV
    assert len(fetched) == 1
