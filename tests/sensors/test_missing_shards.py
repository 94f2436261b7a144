"""Shards that were never finished are asked for: a few at a look, not while others are at it, not for ever."""

import uuid
from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from lafid_assets.jobs import PER_SHARD
from lafid_assets.lafid_toml.settings_check import deciding_sha256, ops_of
from lafid_assets.lafid_toml.settings_file import SettingsFile
from lafid_assets.lake import open_lake
from lafid_assets.runs.run_settings import SETTINGS_TAG
from lafid_assets.schemas import CLIP_FILES, CLIP_ROWS
from lafid_assets.steps.curation_steps import configured
from lafid_assets.steps.partitions import CLIP_SHARDS
from lafid_assets.steps.step_registry import all_steps
from resources.lake.duckdb_extensions import literal
from resources.lake.lake import Lake
from resources.lake.reader import Stamp
from resources.settings import Settings
from sensors.schedules import missing_shards
from sensors.work import TRY

SHARDS = tuple(f"shard-{number:05d}-00000000" for number in range(5))
SCHEDULE = missing_shards("*/15 * * * *")
COLUMNS = "table_name, partition, fingerprint, digest, row_count, token, written_at"
Look = Callable[[], list[str]]


@pytest.fixture
def tick(settings: Settings, lake: Lake, instance: dg.DagsterInstance) -> Callable[[], Any]:
    return lambda: SCHEDULE(dg.build_schedule_context(instance=instance), lake=lake, settings=settings)


@pytest.fixture
def look(tick: Callable[[], Any], instance: dg.DagsterInstance) -> Look:
    """A look whose runs all fail at once; the shards that it asked for."""

    def go() -> list[str]:
        requests = tick()
        assert isinstance(requests, list), requests
        for request in requests:
            _run(instance, dg.DagsterRunStatus.FAILURE, **request.tags)
        return [request.partition_key for request in requests]

    return go


def _run(instance: dg.DagsterInstance, status: dg.DagsterRunStatus, **tags: str) -> None:
    instance.add_run(dg.DagsterRun(job_name="curate_shard", run_id=uuid.uuid4().hex, status=status, tags=tags))


def _told(settings: Settings, lines: str) -> None:
    (settings.home / "lafid.toml").write_text(lines)


Row = tuple[str, str, Stamp, int]
"""Table, shard, stamp, and the hour at which it was written."""


def _stamp(lake: Lake, rows: list[Row]) -> None:
    values = ", ".join(
        f"({', '.join(map(literal, (table, shard, stamp.fingerprint, stamp.digest, 1, 1)))}, '2026-01-01 {hour:02d}:00:00+00')"
        for table, shard, stamp, hour in rows
    )
    lake.commit(lambda writer: writer.cursor.execute(f"INSERT INTO partitions ({COLUMNS}) VALUES {values}"))


def _files(shard: str) -> dict[tuple[str, str], Stamp]:
    return {(table.name, shard): Stamp("f", f"{table.name} {shard}", 1) for table in (CLIP_FILES, CLIP_ROWS)}


def _register(lake: Lake, *shards: str) -> None:
    _stamp(lake, [(*key, stamp, 0) for shard in shards for key, stamp in _files(shard).items()])


def _finish(lake: Lake, *shards: str, until: str = "") -> None:
    """Stamps as if the steps had been computed, an hour each, `until` a step that was not."""
    rows: list[Row] = []
    for shard in shards:
        stamps = _files(shard)
        for hour, (step, config) in enumerate(configured(PER_SHARD, {}), 1):
            if step.asset == until:
                break
            fingerprint = step.fingerprint(stamps, shard, step.facts(config))
            made = {(table.name, shard): Stamp(fingerprint, table.name, 1) for table in step.writes if not table.appended}
            stamps |= made
            rows += [(*key, stamp, hour) for key, stamp in made.items()]
    _stamp(lake, rows)


def _skipped(result: Any) -> str:
    assert isinstance(result, dg.SkipReason), result
    return str(result.skip_message)


def test_a_few_at_a_look_and_dagster_knows_them(
    look: Look, tick: Callable[[], Any], lake: Lake, settings: Settings, instance: dg.DagsterInstance
) -> None:
    _told(settings, "[automation]\nshards_at_once = 2\n")
    assert _skipped(tick()) == "no shard is missing"
    _register(lake, *SHARDS)
    _finish(lake, SHARDS[0])
    _finish(lake, SHARDS[1], until="speech_info")
    assert look() == [SHARDS[1], SHARDS[2]]
    assert instance.get_dynamic_partitions(str(CLIP_SHARDS.name)) == [SHARDS[1], SHARDS[2]]
    told = deciding_sha256(ops_of(SettingsFile.of(settings.home), {}))
    assert {run.tags[SETTINGS_TAG] for run in instance.get_runs()} == {told[:16]}, "`lafid curate` joins them by it"
    assert look() == [SHARDS[3], SHARDS[4]], "who has been tried less often comes first"
    _finish(lake, *SHARDS[2:])
    assert look() == [SHARDS[1]]


def test_none_while_runs_wait_or_shards_are_at_work(
    tick: Callable[[], Any], lake: Lake, settings: Settings, instance: dg.DagsterInstance
) -> None:
    _register(lake, SHARDS[0])
    with open_lake(settings).leases.held(f"face_info/{SHARDS[3]}"):
        assert _skipped(tick()) == f"another process computes face_info/{SHARDS[3]}"
    with lake.leases.held("registry/lafid"):
        assert len(tick()) == 1, "whoever is at something else is not in the way"
    _run(instance, dg.DagsterRunStatus.STARTED)
    assert "1 runs are at" in _skipped(tick())
    _run(instance, dg.DagsterRunStatus.NOT_STARTED)
    assert _skipped(tick()) == "1 runs wait in the queue"


def test_what_does_not_get_done_is_left_to_a_person_until_something_changes(
    look: Look, tick: Callable[[], Any], lake: Lake, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    _told(settings, "[automation]\ntries = 2\n")
    _register(lake, *SHARDS[:2])
    assert look() == [*SHARDS[:2]]
    assert look() == [*SHARDS[:2]]
    given_up = f"{SHARDS[0]}, {SHARDS[1]} did not get done in 2 tries: read their runs, mend the cause, materialize them"
    assert _skipped(tick()) == given_up
    _register(lake, SHARDS[2])
    assert look() == [SHARDS[2]], "they hold up nobody else"
    lake.commit(lambda writer: writer.cursor.execute(f"UPDATE partitions SET digest = 'new' WHERE partition = '{SHARDS[0]}'"))
    assert look() == [SHARDS[0], SHARDS[2]], "other files"
    _told(settings, "[automation]\ntries = 2\n[pose_filtered_clips]\npose_variation_min_deg = 10.0\n")
    assert look() == [*SHARDS[:3]], "other settings"


def test_a_look_that_dies_asks_for_nothing_twice(tick: Callable[[], Any], lake: Lake, instance: dg.DagsterInstance) -> None:
    """Dagster looks again at the same time of the clock: what was launched is at work or has its key and its try."""
    _register(lake, *SHARDS[:2])
    first, second = tick()
    assert len({first.run_key, second.run_key}) == 2
    _run(instance, dg.DagsterRunStatus.STARTED, **first.tags)
    assert "1 runs are at" in _skipped(tick())
    assert [request.run_key for request in (first, second)] == [request.tags[TRY] for request in (first, second)]


def test_shards_of_other_settings_wait_until_they_are_asked_for(
    look: Look, tick: Callable[[], Any], lake: Lake, settings: Settings
) -> None:
    _register(lake, *SHARDS[:3])
    _finish(lake, *SHARDS[:3])
    assert _skipped(tick()) == "no shard is missing"
    # One shard's captions came later: that is no matter of settings.
    where = f"partition = '{SHARDS[2]}' AND table_name = 'clip_rows'"
    later = f"UPDATE partitions SET digest = 'new', written_at = now() WHERE {where}"
    lake.commit(lambda writer: writer.cursor.execute(later))
    assert look() == [SHARDS[2]]
    policy = "[pose_filtered_clips]\npose_variation_min_deg = 10.0\n"
    _told(settings, policy)
    assert _skipped(tick()) == "no shard is missing"
    _told(settings, f"[automation]\ncurate_again = true\n{policy}")
    assert look() == [*SHARDS[:3]]


def test_a_file_of_settings_that_cannot_be_used_is_told(tick: Callable[[], Any], lake: Lake, settings: Settings) -> None:
    _register(lake, SHARDS[0])
    _told(settings, "[pose_filtered_clips]\npolicy = 'coffee'\n")
    assert "[pose_filtered_clips]: there is no policy 'coffee'" in _skipped(tick())


def test_off_by_default_and_before_anything_is_there(settings: Settings, instance: dg.DagsterInstance) -> None:
    assert SCHEDULE.default_status == dg.DefaultScheduleStatus.STOPPED
    assert (SCHEDULE.job_name, SCHEDULE.cron_schedule) == ("curate_shard", "*/15 * * * *")
    result = SCHEDULE(dg.build_schedule_context(instance=instance), lake=open_lake(settings), settings=settings)
    assert "nothing has been registered yet" in _skipped(result)
    assert all_steps().keys() >= set(PER_SHARD)
