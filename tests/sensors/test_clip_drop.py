"""The clip drop: nothing half-copied, nothing twice, nothing forgotten."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from lafid_assets.steps.partitions import CLIP_SHARDS
from resources.lake.lake import Lake
from resources.leases.leases import StoreBusy
from resources.settings import Settings
from sensors import clip_drop as module
from sensors.clip_drop import clip_drop

A, B = "aa" * 16, "bb" * 16
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


def _drop(settings: Settings, name: str, content: bytes) -> None:
    path = Path(settings.drop) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


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
    Path(settings.drop).mkdir(parents=True)
    _skipped(tick(), "holds neither OpenHumanVid_part_*.csv nor a video file")


def test_a_file_is_taken_in_when_two_looks_find_it_equal(tick: Tick, settings: Settings, lake: Lake) -> None:
    _drop(settings, "a.mp4", b"half")
    _skipped(tick(), "1 files still change")
    _drop(settings, "a.mp4", b"half and the rest")
    _skipped(tick(), "1 files still change")
    assert _paths(lake) == {}
    [shard] = _requested(tick())
    assert _paths(lake) == {shard: ["a.mp4"]}


def test_a_file_that_grows_holds_up_no_other_and_a_date_in_the_future_none_at_all(
    tick: Tick, settings: Settings, lake: Lake
) -> None:
    _drop(settings, "a.mp4", b"a")
    os.utime(Path(settings.drop) / "a.mp4", (time.time() + 300 * 86400,) * 2)
    for size in range(1, 4):
        _drop(settings, "b.mp4", b"b" * size)
        tick()
    assert sorted(_paths(lake).values()) == [["a.mp4"]]
    tick()
    assert sorted(_paths(lake).values()) == [["a.mp4"], ["b.mp4"]]


def test_new_clips_become_a_shard_and_a_run_once(
    tick: Tick, settings: Settings, lake: Lake, instance: dg.DagsterInstance
) -> None:
    _drop(settings, "a.mp4", b"a")
    tick()
    result = tick()
    [first] = _requested(result)
    assert isinstance(result, dg.SensorResult)
    assert instance.get_dynamic_partitions(str(CLIP_SHARDS.name)) == [first]
    _skipped(tick(result.cursor), "nothing has changed")
    _drop(settings, "b.mp4", b"b")
    tick(result.cursor)
    again = tick(result.cursor)
    assert len(_requested(again)) == 2
    assert result.run_requests[0].run_key in {request.run_key for request in again.run_requests}, "Dagster knows it by its key"


def test_a_replaced_file_is_curated_anew(tick: Tick, settings: Settings) -> None:
    _drop(settings, "a.mp4", b"v1")
    tick()
    first = tick()
    _drop(settings, "a.mp4", b"version 2")
    tick(first.cursor)
    second = tick(first.cursor)
    assert _requested(second) == _requested(first)
    assert second.run_requests[0].run_key != first.run_requests[0].run_key


def test_a_clip_that_comes_after_its_table_is_curated(tick: Tick, settings: Settings, lake: Lake) -> None:
    rows = "".join(f"{clip},clips/part_000/aa/aa/{clip},The video features a cat.\n" for clip in (A, B))
    _drop(settings, "OpenHumanVid_part_000.csv", f"clip_id,path,caption\n{rows}".encode())
    _drop(settings, f"clips/part_000/aa/aa/{A}", b"a")
    tick()
    first = tick()
    [shard] = _requested(first)
    _drop(settings, f"clips/part_000/aa/aa/{B}", b"b")
    tick(first.cursor)
    second = tick(first.cursor)
    assert _requested(second) == [shard]
    assert lake.read("clip_files")["size_bytes"].null_count() == 0


def test_a_table_that_comes_later_runs_its_shard_again(tick: Tick, settings: Settings, lake: Lake) -> None:
    _drop(settings, "OpenHumanVid_part_001.csv", b"clip_id,path,caption\n")
    _drop(settings, f"clips/part_001/aa/aa/{A}", b"a")
    tick()
    first = tick()
    [shard] = _requested(first)
    row = f"{A},clips/part_001/aa/aa/{A},The video features a cat.\n"
    _drop(settings, "OpenHumanVid_part_002.csv", f"clip_id,path,caption\n{row}".encode())
    tick(first.cursor)
    second = tick(first.cursor)
    assert _requested(second) == [shard]
    assert second.run_requests[0].run_key != first.run_requests[0].run_key
    assert lake.read("clip_files")["in_table"].to_list() == [True]


def test_a_table_with_a_bad_row_is_named_and_stops_no_other(tick: Tick, settings: Settings, lake: Lake) -> None:
    row = f"{A},clips/part_001/aa/aa/{A},The video features a cat.\n"
    _drop(settings, "OpenHumanVid_part_001.csv", f"clip_id,path,caption\n{row}".encode())
    _drop(settings, "OpenHumanVid_part_002.csv", b"clip_id,path,caption\n,clips/x.mp4,nobody\n")
    _drop(settings, f"clips/part_001/aa/aa/{A}", b"a")
    tick()
    result = tick()
    assert len(_requested(result)) == 1
    assert lake.read("clip_files")["in_table"].to_list() == [True]
    _skipped(tick(result.cursor), "OpenHumanVid_part_002.csv has 1 rows without clip_id")


def test_a_table_that_is_replaced_or_broken_takes_no_row_from_its_clips(tick: Tick, settings: Settings, lake: Lake) -> None:
    def table(part: str, clip: str, caption: str) -> None:
        row = f"{clip},clips/{part}/aa/aa/{clip},{caption}\n"
        _drop(settings, f"OpenHumanVid_{part}.csv", f"clip_id,path,caption\n{row}".encode())

    for part, clip in (("part_001", A), ("part_002", B)):
        table(part, clip, "The video features a cat.")
        _drop(settings, f"clips/{part}/aa/aa/{clip}", b"a")
    tick()
    first = tick()
    before = lake.read("clip_rows")
    table("part_002", B, "The video features a white cat.")
    _skipped(tick(first.cursor), "1 files still change")
    assert lake.read("clip_rows").equals(before)
    second = tick(first.cursor)
    assert _requested(second) == _requested(first)
    told = lake.read("clip_rows")
    _drop(settings, "OpenHumanVid_part_002.csv", b"")
    tick(second.cursor)
    _skipped(tick(second.cursor), "OpenHumanVid_part_002.csv: empty CSV")
    assert lake.read("clip_rows").equals(told)


def test_beside_a_bad_table_looks_do_not_grow(tick: Tick, settings: Settings) -> None:
    _drop(settings, "OpenHumanVid_part_001.csv", b"nothing,here\n1,2\n")
    for size in range(1, 5):
        _drop(settings, "clips/a.mp4", b"a" * size)
        tick()
    kept = pl.read_parquet(settings.home / module.LOOKS)
    assert sorted(kept["path"]) == ["OpenHumanVid_part_001.csv", "clips/a.mp4"]


@pytest.mark.parametrize("torn", [b"", b"PAR1 and no more", None])
def test_a_look_that_is_torn_or_of_another_form_is_none(tick: Tick, settings: Settings, torn: bytes | None) -> None:
    _drop(settings, "a.mp4", b"a")
    settings.home.mkdir(exist_ok=True)
    if torn is None:
        pl.DataFrame({"path": ["a.mp4"], "size": [1]}).write_parquet(settings.home / module.LOOKS)
    else:
        (settings.home / module.LOOKS).write_bytes(torn)
    _skipped(tick(), "1 files still change")
    assert len(_requested(tick())) == 1


def test_a_table_that_is_a_link_to_nowhere_stops_no_tick(tick: Tick, settings: Settings) -> None:
    _drop(settings, "a.mp4", b"a")
    drop = Path(settings.drop)
    (drop / "OpenHumanVid_part_001.csv").symlink_to(drop / "nowhere.csv")
    tick()
    assert len(_requested(tick())) == 1


def test_a_tick_that_dies_anywhere_forgets_nothing(
    tick: Tick, settings: Settings, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    _drop(settings, "a.mp4", b"a")
    tick()
    with monkeypatch.context() as patched:
        patched.setattr(module, "_asked_for", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            tick()
    [shard] = _paths(lake)
    assert _requested(tick()) == [shard], "registered by the tick that died"
    assert _requested(tick()) == [shard], "and asked for again as long as no cursor was kept"


def test_requests_of_a_tick_are_bounded_and_the_next_ones_go_on(
    tick: Tick, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_REQUESTS", 2)
    settings.home.mkdir(exist_ok=True)
    (settings.home / "lafid.toml").write_text("[sources]\nclips_per_shard = 1\n")
    for name in "abcde":
        _drop(settings, f"{name}.mp4", name.encode())
    cursor, asked = None, []
    tick()
    for _ in range(3):
        result = tick(cursor)
        asked.append(_requested(result))
        cursor = result.cursor
    assert [len(shards) for shards in asked] == [2, 2, 1]
    assert len({shard for shards in asked for shard in shards}) == 5
    _skipped(tick(cursor), "nothing has changed")


def test_few_clips_wait_for_company_but_not_for_ever(
    tick: Tick, settings: Settings, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.home.mkdir(exist_ok=True)
    (settings.home / "lafid.toml").write_text("[sources]\nleast_new_clips = 3\nlongest_wait_minutes = 10\n")
    for name in "ab":
        _drop(settings, f"{name}.mp4", name.encode())
    tick()
    _skipped(tick(), "2 clips wait for more")
    assert _paths(lake) == {}
    later = time.time() + 601
    monkeypatch.setattr(module.time, "time", lambda: later)
    assert len(_requested(tick())) == 1
    assert sorted(_paths(lake).values()) == [["a.mp4", "b.mp4"]]


def test_table_without_a_needed_column_is_said(tick: Tick, settings: Settings) -> None:
    _drop(settings, "OpenHumanVid_part_001.csv", b"clip_id,path\na,b\n")
    tick()
    _skipped(tick(), "has no column caption")


@pytest.fixture
def on_s3(bucket: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, bytes], object]:
    """A drop on S3; puts an object there."""
    import boto3

    settings.home.mkdir(exist_ok=True)
    monkeypatch.setenv("LAFID_HOME", str(settings.home))
    monkeypatch.setenv("LAFID_DROP", f"s3://{bucket}/drop/")
    client = boto3.client("s3")
    return lambda name, content: client.put_object(Bucket=bucket, Key=f"drop/{name}", Body=content)


def test_a_drop_on_s3_is_a_drop_like_any_other(tick: Tick, lake: Lake, bucket: str, on_s3: Callable[..., object]) -> None:
    on_s3("a.mp4", b"a")
    _skipped(tick(), "1 files still change")
    on_s3("b.mp4", b"half")
    first = tick()
    [shard] = _requested(first)
    assert _paths(lake) == {shard: ["a.mp4"]}
    assert set(lake.read("clip_files")["clip_root"]) == {f"s3://{bucket}/drop"}
    on_s3("b.mp4", b"half and the rest")
    _skipped(tick(first.cursor), "1 files still change")
    second = tick(first.cursor)
    assert len(_requested(second)) == 2
    on_s3("a.mp4", b"another")
    tick(second.cursor)
    third = tick(second.cursor)
    keys = [{request.partition_key: request.run_key for request in result.run_requests} for result in (second, third)]
    assert keys[0].keys() == keys[1].keys()
    assert keys[0][shard] != keys[1][shard], "a holds something else"
    _skipped(tick(third.cursor), f"nothing has changed in s3://{bucket}/drop")


def test_the_tables_of_a_drop_on_s3_settle_too(tick: Tick, lake: Lake, on_s3: Callable[..., object]) -> None:
    on_s3("OpenHumanVid_part_001.csv", f"clip_id,path,caption\n{A},clips/part_001/aa/aa/{A},a cat\n".encode())
    on_s3(f"clips/part_001/aa/aa/{A}", b"a")
    _skipped(tick(), "1 files still change")
    assert len(_requested(tick())) == 1
    assert lake.read("clip_rows")["caption"].to_list() == ["a cat"]


def test_a_drop_on_s3_that_cannot_be_listed_is_said(tick: Tick, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAFID_DROP", "s3://no-such-bucket")
    _skipped(tick(), "cannot read s3://no-such-bucket/")


def test_nobody_forgets_a_clip_while_files_are_taken_in(
    tick: Tick, settings: Settings, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(*_: object) -> None:
        with pytest.raises(StoreBusy, match="clip_drop"), lake.leases.alone("lafid forget"):
            pass

    monkeypatch.setattr(module, "register", look)
    _drop(settings, "a.mp4", b"whole")
    tick()
    tick()
