"""The clip drop: nothing half-copied, nothing twice, nothing forgotten."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from lafid_assets.ingest.listing import list_files
from lafid_assets.ingest.registration import register
from lafid_assets.partitions import CLIP_SHARDS
from resources.lake import Lake
from resources.settings import Settings
from sensors.clip_drop import SETTLED_S, clip_drop, folder_state

Tick = Callable[..., dg.SensorResult | dg.SkipReason]


@pytest.fixture
def instance() -> dg.DagsterInstance:
    return dg.DagsterInstance.ephemeral()


@pytest.fixture
def tick(settings: Settings, lake: Lake, instance: dg.DagsterInstance) -> Tick:
    def evaluate(cursor: str | None = None) -> dg.SensorResult | dg.SkipReason:
        context = dg.build_sensor_context(instance=instance, cursor=cursor)
        result = clip_drop(context, lake=lake, settings=settings)
        if isinstance(result, dg.SensorResult):
            for request in result.dynamic_partitions_requests or []:
                instance.add_dynamic_partitions(request.partitions_def_name, request.partition_keys)
        return result

    return evaluate


def _drop(settings: Settings, name: str, content: bytes, age_s: float = SETTLED_S + 60) -> None:
    path = settings.drop / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (time.time() - age_s,) * 2)


def _skipped(result: dg.SensorResult | dg.SkipReason, message: str) -> None:
    assert isinstance(result, dg.SkipReason)
    assert message in str(result.skip_message)


def _paths(lake: Lake) -> dict[str, list[str]]:
    """Shard to the paths of its files."""
    rows = lake.sql("SELECT shard, list(path ORDER BY path) AS paths FROM clip_files GROUP BY shard ORDER BY shard")
    return {shard: list(paths) for shard, paths in rows.iter_rows()}


def _requested(result: dg.SensorResult | dg.SkipReason) -> list[str]:
    assert isinstance(result, dg.SensorResult)
    requests = result.run_requests or []
    assert len({request.run_key for request in requests}) == len(requests)
    return [str(request.partition_key) for request in requests]


def test_no_folder_is_said(tick: Tick, settings: Settings) -> None:
    _skipped(tick(), f"there is no folder {settings.drop}: make it and put clips there, or set LAFID_DROP")


def test_empty_folder_is_said(tick: Tick, settings: Settings) -> None:
    settings.drop.mkdir(parents=True)
    _skipped(tick(), "holds neither OpenHumanVid_part_*.csv nor a video file")


def test_files_that_still_change_are_left_alone(tick: Tick, settings: Settings, lake: Lake) -> None:
    _drop(settings, "a.mp4", b"a")
    _drop(settings, "b.mp4", b"half", age_s=1)
    _skipped(tick(), "still changing")
    assert _paths(lake) == {}


def test_new_clips_become_a_shard_and_a_run(tick: Tick, settings: Settings, lake: Lake, instance: dg.DagsterInstance) -> None:
    _drop(settings, "a.mp4", b"a")
    result = tick()
    [first] = _requested(result)
    assert isinstance(result, dg.SensorResult)
    assert _paths(lake) == {first: ["a.mp4"]}
    assert instance.get_dynamic_partitions(str(CLIP_SHARDS.name)) == [first]

    _skipped(tick(result.cursor), "nothing has changed")
    _drop(settings, "b.mp4", b"b")
    [second] = _requested(tick(result.cursor))
    assert _paths(lake) == {first: ["a.mp4"], second: ["b.mp4"]}


def test_changed_folder_without_a_changed_clip_moves_the_cursor_only(tick: Tick, settings: Settings) -> None:
    _drop(settings, "a.mp4", b"a")
    first = tick()
    _drop(settings, "notes.txt", b"a")
    second = tick(first.cursor)
    assert _requested(second) == []
    assert second.cursor not in (None, first.cursor)


def test_table_that_comes_later_runs_its_shard_again(tick: Tick, settings: Settings, lake: Lake) -> None:
    clip_id = "ab" * 16
    _drop(settings, "OpenHumanVid_part_001.csv", b"clip_id,path,caption\n")
    _drop(settings, f"clips/part_001/ab/ab/{clip_id}", b"a")
    first = tick()
    [shard] = _requested(first)
    row = f"{clip_id},clips/part_001/ab/ab/{clip_id},The video features a cat.\n"
    _drop(settings, "OpenHumanVid_part_002.csv", f"clip_id,path,caption\n{row}".encode())
    second = tick(first.cursor)
    assert _requested(second) == [shard]
    assert second.run_requests[0].run_key != first.run_requests[0].run_key
    assert lake.read("clip_files")["in_table"].to_list() == [True]


def test_shard_that_a_dead_tick_registered_is_run_by_the_next(tick: Tick, settings: Settings, lake: Lake) -> None:
    _drop(settings, "a.mp4", b"a")
    [shard] = register(lake, list_files(settings.drop)).shards
    assert _requested(tick()) == [shard]


def test_table_without_a_needed_column_is_said(tick: Tick, settings: Settings) -> None:
    _drop(settings, "OpenHumanVid_part_001.csv", b"clip_id,path\na,b\n")
    _skipped(tick(), "has no column caption")


@pytest.mark.parametrize("change", ["content", "name", "time"])
def test_state_sees_every_change(tmp_path: Path, change: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"1")
    os.utime(path, (1000, 1000))
    before = folder_state(tmp_path)
    assert before == folder_state(tmp_path)
    assert before[1] == 1000
    if change == "content":
        path.write_bytes(b"22")
        os.utime(path, (1000, 1000))
    elif change == "name":
        path.rename(tmp_path / "b")
    else:
        os.utime(path, (1001, 1001))
    assert folder_state(tmp_path)[0] != before[0]


def test_off_by_default_and_starts_the_job_of_a_shard() -> None:
    assert clip_drop.default_status == dg.DefaultSensorStatus.STOPPED
    assert [target.job_name for target in clip_drop.targets] == ["curate_shard"]
