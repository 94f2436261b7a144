"""Clips on S3 through `raw_clips`, as clips of a folder: replaced, gone or refused ones, and what a bucket that is away costs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lafid_assets.ingest.clip_prefetch import drop
from lafid_assets.ingest.listing import list_files
from lafid_assets.ingest.locate import locate, require_located
from lafid_assets.ingest.media_probe import content_sha256
from lafid_assets.ingest.raw_clips import STEP, RawClipsConfig
from lafid_assets.ingest.registration import register
from model.encoding.footage import RemoteFile
from resources.lake.lake import Lake
from resources.settings import Settings
from resources.store import s3_objects
from resources.store.s3_objects import BucketAway, ObjectUnreadable

Take = Callable[[Any], Any]
Put = Callable[[str, Path], str]


@pytest.fixture(autouse=True)
def home(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment names the home of `settings`."""
    settings.home.mkdir(parents=True, exist_ok=True)
    monkeypatch.setenv("LAFID_HOME", str(settings.home))


@pytest.fixture
def films(tmp_path: Path, write_video: Callable[..., Path]) -> list[Path]:
    """Three small videos of different contents."""
    return [write_video(tmp_path / "films" / f"{number}.mp4", seconds=number / 2) for number in (1, 2, 3)]


@pytest.fixture
def put(bucket: str) -> Put:
    """Puts a file as an object of the prefix, which it names."""

    def one(name: str, path: Path) -> str:
        s3_objects.client().put_object(Bucket=bucket, Key=f"set/{name}", Body=path.read_bytes())
        return f"s3://{bucket}/set"

    return one


def _remove(address: str, name: str) -> None:
    s3_objects.remove_object(f"{address}/{name}")


def _ends(lake: Lake) -> dict[str, str]:
    """How the clip of each file ended, by the file's path."""
    rows = lake.sql(
        "SELECT k.path, coalesce(c.reason, c.status) FROM clip_contents k JOIN clips c ON c.shard = k.clip_shard "
        "AND c.clip_id = k.clip_id"
    )
    return dict(rows.rows())


def _scratch(settings: Settings) -> list[str]:
    return sorted(path.name for path in settings.scratch.rglob("*.mp4"))


def test_a_prefix_has_the_clips_that_a_folder_of_the_same_files_has(
    lake: Lake, films: list[Path], put: Put, take_in: Take, settings: Settings
) -> None:
    for path in films[:2]:
        address = put(f"deep/{path.name}", path)
    registered, opened = take_in(address)
    assert (registered.new, opened) == (2, ["deep/1.mp4", "deep/2.mp4"])
    clips = lake.read("clips")
    assert clips["status"].to_list() == ["ok", "ok"]
    again, opened = take_in(address)
    assert (again.new, again.changed, opened) == (0, 0, []), "nothing is fetched again"
    own, _ = take_in(films[0].parent)
    assert (own.new, set(clips["clip_id"]) <= set(lake.read("clips")["clip_id"])) == (3, True)


def test_clips_lie_where_they_are_fetched_to_and_a_local_copy_goes_before(
    lake: Lake, films: list[Path], put: Put, take_in: Take, settings: Settings, tmp_path: Path
) -> None:
    address = put("1.mp4", films[0])
    [shard] = take_in(address)[0].shards
    [file] = locate(lake, shard).values()
    assert isinstance(file, RemoteFile)
    assert (file.address, file.content_sha256 is not None, file.etag is not None) == (f"{address}/1.mp4", True, True)
    assert _scratch(settings) == ["1.mp4"], "the next step opens it"
    drop([file])
    assert _scratch(settings) == []
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "1.mp4").write_bytes(films[0].read_bytes())
    take_in(tmp_path / "copy")
    take_in(address)
    assert list(require_located(lake, shard, list(lake.read("clips")["clip_id"])).values()) == [tmp_path / "copy" / "1.mp4"]


def test_a_replaced_object_is_another_clip(lake: Lake, films: list[Path], put: Put, take_in: Take) -> None:
    address = put("1.mp4", films[0])
    take_in(address)
    [before] = lake.read("clips")["clip_id"]
    put("1.mp4", films[1])
    registered, opened = take_in(address)
    assert (registered.changed, opened) == (1, ["1.mp4"])
    assert before not in lake.read("clips")["clip_id"].to_list()


def test_an_object_that_is_put_anew_within_its_second_is_seen_by_its_etag(
    lake: Lake, tmp_path: Path, put: Put, take_in: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = s3_objects.list_objects
    told = "lafid_assets.ingest.clip_root.list_objects"
    monkeypatch.setattr(told, lambda *asked, **how: (item._replace(mtime_s=7) for item in listed(*asked, **how)))
    path = tmp_path / "a.mp4"
    path.write_bytes(b"one")
    address = put("a.mp4", path)
    take_in(address)
    path.write_bytes(b"two")
    put("a.mp4", path)
    assert take_in(address)[1] == ["a.mp4"]


def test_an_object_costs_itself_alone(
    lake: Lake, films: list[Path], put: Put, take_in: Take, bring_up: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gone, or refused, between the listing and its turn."""
    fetch = s3_objects.fetch

    def refuse(address: str, *rest: Any) -> None:
        if address.endswith("2.mp4"):
            raise ObjectUnreadable(f"{address} is refused")
        if address.endswith("3.mp4"):
            _remove(address.rpartition("/")[0], "3.mp4")
        fetch(address, *rest)

    for path in films:
        address = put(path.name, path)
    with monkeypatch.context() as patched:
        patched.setattr(s3_objects, "fetch", refuse)
        [shard] = take_in(address)[0].shards
    assert _ends(lake) == {"1.mp4": "ok", "2.mp4": "not_fetched", "3.mp4": "file_missing"}
    assert STEP.unsettled is not None
    assert lake.sql(STEP.unsettled(RawClipsConfig()))["shard"].to_list() == [shard]
    put("3.mp4", films[2])
    assert take_in(address)[1] == ["2.mp4", "3.mp4"]
    assert set(_ends(lake).values()) == {"ok"}


def test_a_bucket_that_is_away_is_an_error_of_the_run_and_takes_no_clip_its_result(
    lake: Lake, films: list[Path], put: Put, take_in: Take, bring_up: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = put("1.mp4", films[0])
    take_in(address)
    before = lake.read("clips")
    put("1.mp4", films[1])
    put("2.mp4", films[2])

    def away(address: str, *_: Any) -> None:
        raise BucketAway(f"cannot read {address}")

    with monkeypatch.context() as patched:
        patched.setattr(s3_objects, "fetch", away)
        with pytest.raises(BucketAway, match=f"cannot read {address}"):
            take_in(address)
    assert lake.read("clips").equals(before)
    take_in(address)
    assert _ends(lake) == {"1.mp4": "ok", "2.mp4": "ok"}


def test_an_object_that_went_keeps_what_was_measured(lake: Lake, films: list[Path], put: Put, take_in: Take) -> None:
    put("1.mp4", films[0])
    address = put("2.mp4", films[1])
    take_in(address)
    before = lake.read("clips")
    _remove(address, "2.mp4")
    take_in(address)
    assert lake.read("clips").equals(before)


def test_an_object_that_was_put_anew_and_is_missing_for_a_moment_is_read_when_it_is_back(
    lake: Lake, films: list[Path], put: Put, take_in: Take, bring_up: Any
) -> None:
    address = put("1.mp4", films[0])
    [shard] = take_in(address)[0].shards
    before = lake.read("clips")
    put("1.mp4", films[1])
    register(lake, list_files(address))
    _remove(address, "1.mp4")
    bring_up(shard)
    assert lake.read("clips").equals(before)
    assert locate(lake, shard) == {}, "what is there now was never read"
    put("1.mp4", films[1])
    assert bring_up(shard) == ["1.mp4"]
    assert lake.read("clips")["content_sha256"].to_list() == [content_sha256(films[1])]
