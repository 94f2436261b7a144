"""Objects of a local S3 come whole into a folder, each once, as long as there is room."""

from pathlib import Path
from typing import Any

import pytest

from lafid_assets.ingest import fetching
from lafid_assets.ingest.fetching import NotFetched, fetch_arrived, list_objects, look_at_objects
from lafid_assets.ingest.provenance import SourceUnusable

MUCH = 1e9


@pytest.fixture
def s3(bucket: str) -> Any:
    import boto3

    client = boto3.client("s3")
    return lambda key, content: client.put_object(Bucket=bucket, Key=key, Body=content)


@pytest.fixture
def drop(bucket: str, tmp_path: Path) -> tuple[str, Path, Path]:
    """Prefix, folder, and the file of looks."""
    return f"s3://{bucket}/drop", tmp_path / "fetched", tmp_path / "looks.parquet"


def _files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_two_looks_find_equal_is_fetched_once(s3: Any, drop: tuple[str, Path, Path]) -> None:
    s3("drop/a.mp4", b"a")
    s3("drop/sub/b.mp4", b"b")
    assert (look_at_objects(*drop).settling, look_at_objects(*drop).arrived.height) == (2, 2)
    s3("drop/sub/b.mp4", b"b and more")
    s3("drop/c.mp4", b"c")
    assert fetch_arrived(*drop, MUCH) == 1, "b changed since the look, c was not there"
    assert _files(drop[1]) == {"a.mp4": b"a"}
    assert [look_at_objects(*drop).settling for _ in range(2)] == [2, 0]
    assert fetch_arrived(*drop, MUCH) == 2
    assert _files(drop[1]) == {"a.mp4": b"a", "sub/b.mp4": b"b and more", "c.mp4": b"c"}
    assert look_at_objects(*drop).arrived.is_empty()
    assert fetch_arrived(*drop, MUCH) == 0


def test_names_that_are_no_clips_or_lead_elsewhere_are_left(s3: Any, drop: tuple[str, Path, Path]) -> None:
    kept = {"a.MP4", "clips/part_000/aa/bb/" + "0" * 32, "OpenHumanVid_part_000.csv", "lafid_source.json"}
    for name in (*kept, "notes.txt", ".hidden.mp4", "../up.mp4", "sub/../../up.mp4", "sub/OpenHumanVid_part_000.csv", "folder/"):
        s3(f"drop/{name}", b"x")
    s3("dropped/other.mp4", b"x")
    assert set(list_objects(drop[0])["path"]) == kept


def test_what_does_not_fit_is_left_out_and_told(s3: Any, drop: tuple[str, Path, Path]) -> None:
    for name, size in (("a", 40), ("b", 80), ("c", 40)):
        s3(f"drop/{name}.mp4", b"x" * size)
    look_at_objects(*drop)
    with pytest.raises(NotFetched, match=r"^1 objects of .* are not fetched, 2 were; b.mp4: .* at most 0.0: raise fetched_gb"):
        fetch_arrived(*drop, 100)
    assert set(_files(drop[1])) == {"a.mp4", "c.mp4"}


def test_a_fetch_that_dies_leaves_nothing_half_and_the_next_goes_on(
    s3: Any, drop: tuple[str, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        s3(f"drop/{name}.mp4", name.encode())
    look_at_objects(*drop)

    def torn(source: Any, target: Any, _: int) -> None:
        target.write(source.read(0) + b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(fetching.shutil, "copyfileobj", torn)
        with pytest.raises(KeyboardInterrupt):
            fetch_arrived(*drop, MUCH)
    assert _files(drop[1]) == {}
    assert fetch_arrived(*drop, MUCH) == 3


def test_a_bucket_that_is_not_there_is_named(bucket: str, tmp_path: Path) -> None:
    with pytest.raises(SourceUnusable, match=r"cannot read s3://no-such-bucket/x .*NoSuchBucket.*check LAFID_DROP"):
        look_at_objects("s3://no-such-bucket/x", tmp_path, tmp_path / "looks.parquet")
