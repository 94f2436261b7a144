"""Files that were replaced, and looks at them that fail: what was measured waits, and goes when no file holds it any more."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from lafid_assets.ingest import raw_clips as module
from lafid_assets.ingest.listing import list_files
from lafid_assets.ingest.locate import locate
from lafid_assets.ingest.media_probe import content_sha256
from lafid_assets.ingest.raw_clips import STEP, RawClipsConfig
from lafid_assets.ingest.registration import Registered, register
from lafid_assets.outcomes import Reason
from lafid_assets.workers.exit_reasons import TRIED_AGAIN
from lafid_assets.workers.pool import Crashed, Ending, Failed, NotFetched, OutOfMemory, TimedOut
from resources.lake.lake import Lake
from resources.lake.tables import PARTITIONS

TakeIn = Callable[[Path], tuple[Registered, list[str]]]


def _clip(path: Path) -> str:
    return content_sha256(path)[:32]


def _rows(lake: Lake, columns: str) -> list[tuple[Any, ...]]:
    return lake.sql(f"SELECT {columns} FROM raw_clips ORDER BY path").rows()


def _waiting(lake: Lake) -> list[str]:
    assert STEP.unsettled is not None
    return lake.sql(STEP.unsettled(RawClipsConfig()) or "")["shard"].to_list()


@pytest.mark.parametrize("away", ["folder", "file"])
def test_a_file_that_was_replaced_and_is_away_is_read_when_it_is_back(
    away: str, lake: Lake, folder: Path, films: Path, tmp_path: Path, bring_up: Any, take_in: TakeIn, caplog: Any
) -> None:
    [shard] = take_in(folder)[0].shards
    before = lake.read("clips")
    shutil.copy2(films / "three.mp4", folder / "two.mp4")
    register(lake, list_files(folder))
    gone = folder if away == "folder" else folder / "two.mp4"
    gone.rename(tmp_path / "aside")
    bring_up(shard)
    assert lake.read("clips").equals(before), "what was measured waits"
    assert _waiting(lake) == [shard]
    assert "two.mp4" in caplog.text
    (tmp_path / "aside").rename(gone)
    assert _clip(films / "two.mp4") not in locate(lake, shard), "the file holds something else now"
    assert bring_up(shard) == ["two.mp4"]
    assert lake.read("clips")["clip_id"].sort().to_list() == sorted([_clip(films / "one.mp4"), _clip(films / "three.mp4")])
    assert _waiting(lake) == []


ENDINGS: dict[Reason, Ending[Any]] = {
    Reason.CRASHED: Crashed(-11),
    Reason.DEADLINE: TimedOut(60.0),
    Reason.MEMORY_LIMIT: OutOfMemory(1 << 30),
    Reason.UNREADABLE: Failed("OSError"),
    Reason.NOT_FETCHED: NotFetched("refused", is_missing=False),
    Reason.FILE_MISSING: NotFetched("gone", is_missing=True),
}


@pytest.mark.parametrize("reason", ENDINGS)
def test_a_look_that_fails_says_nothing_of_the_clip_and_is_tried_again(
    reason: Reason, lake: Lake, folder: Path, films: Path, bring_up: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Any, tasks: Sequence[Any], *__: object, **___: object) -> Iterator[tuple[int, Ending[Any]]]:
        yield from ((index, ENDINGS[reason]) for index in range(len(tasks)))

    [shard] = register(lake, list_files(folder), 10).shards
    with monkeypatch.context() as patched:
        patched.setattr(module, "map_footage", fail)
        bring_up(shard)
    assert set(_rows(lake, "reason")) == {(reason,)}
    assert _waiting(lake) == [shard]
    bring_up(shard)
    assert (set(_rows(lake, "status")), _waiting(lake)) == ({("ok",)}, [])
    before = lake.read("clips")
    os.utime(folder / "two.mp4", (1, 1))
    register(lake, list_files(folder))
    with monkeypatch.context() as patched:
        patched.setattr(module, "map_footage", fail)
        bring_up(shard)
    assert lake.read("clips").equals(before), "it was touched, and could not be read once"
    assert _waiting(lake) == [shard]
    assert bring_up(shard) == ["two.mp4"]
    assert (lake.read("clips").equals(before), _waiting(lake)) == (True, [])


def test_every_fault_that_another_try_may_not_meet_is_tried_again() -> None:
    assert {*ENDINGS} == (TRIED_AGAIN - {Reason.ENGINE_FAILED}) | {Reason.FILE_MISSING}, "no engine reads a header"


def test_a_clip_goes_with_the_last_of_its_files_though_another_shard_has_that(
    lake: Lake, folder: Path, tmp_path: Path, films: Path, take_in: TakeIn
) -> None:
    [first] = take_in(folder)[0].shards
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy2(films / "one.mp4", other / "renamed.mp4")
    [second] = take_in(other)[0].shards
    shutil.copy2(films / "three.mp4", folder / "one.mp4")
    take_in(folder)
    assert _clip(films / "one.mp4") in lake.read("clips", first)["clip_id"].to_list(), "the other folder holds it"
    before = lake.stamps(["clips"])["clips", first]
    shutil.copy2(films / "two.mp4", other / "renamed.mp4")
    take_in(other)
    assert _rows(lake, "clip_id, shard, path") == sorted(
        [(_clip(films / "three.mp4"), first, "one.mp4"), (_clip(films / "two.mp4"), first, "renamed.mp4")], key=lambda row: row[2]
    )
    after = lake.stamps(["clips"])["clips", first]
    assert (after.fingerprint, after.rows) == (before.fingerprint, 2), "it reads nothing that has changed"
    assert after.digest != before.digest, "later steps begin anew"
    written = f"SELECT table_name, written_at FROM {PARTITIONS} WHERE partition = '{first}'"
    assert max(lake.sql(written).iter_rows(), key=lambda row: row[1])[0] == "clips", "the shard is not finished"
    assert lake.read("clips", second).is_empty()


def test_a_file_of_the_far_future_is_a_clip_as_others_are(lake: Lake, folder: Path, take_in: TakeIn) -> None:
    os.utime(folder / "two.mp4", (0, 10_500_000_000))
    [shard] = take_in(folder)[0].shards
    assert locate(lake, shard).keys() == {_clip(folder / "one.mp4"), _clip(folder / "two.mp4")}
    assert take_in(folder)[1] == []
