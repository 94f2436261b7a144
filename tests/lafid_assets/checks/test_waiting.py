"""What is not current, why, and when that is worth a look: content that waits, or other settings."""

from typing import Any

import polars as pl
import pytest
from pydantic import BaseModel

from lafid_assets.checks.bounds import CheckBounds
from lafid_assets.checks.waiting import WAITING, freshness, settings_differ, what_waits
from lafid_assets.schemas import CLIPS, FACE_CLIPS, LAFID_DATASET
from lafid_assets.steps.step import Step
from resources.lake.duckdb_extensions import literal
from resources.lake.lake import UNPARTITIONED, Lake

ONE, TWO = "shard-00000-00000000", "shard-00001-00000000"


class Config(BaseModel):
    """What a test changes."""

    n: int = 0


def _step(table: Any, *reads: str, **more: Any) -> Step:
    return Step(writes=(table,), reads=reads, group="test", code_version="1", facts=lambda config: config.n, **more)


TAKE_IN = _step(CLIPS, "clip_files", unsettled=lambda config: f"SELECT '{ONE}' AS shard" if config.n == 7 else None)
LOOK, WHOLE = _step(FACE_CLIPS, CLIPS.name), _step(LAFID_DATASET, FACE_CLIPS.name)


@pytest.fixture
def laid(lake: Lake) -> Lake:
    """Both shards through both steps, and what is made of all shards; each table an hour after what it reads."""
    for shard in (ONE, TWO):
        _stamp(lake, "clip_files", shard, "f", hours_ago=10)
        _compute(lake, TAKE_IN, shard, hours_ago=9)
        _compute(lake, LOOK, shard, hours_ago=8)
    _compute(lake, WHOLE, UNPARTITIONED, hours_ago=7)
    return lake


def _stamp(lake: Lake, table: str, partition: str, fingerprint: str, hours_ago: float, digest: str = "d") -> None:
    where = f"table_name = {literal(table)} AND partition = {literal(partition)}"
    columns = "table_name, partition, fingerprint, digest, row_count, token, written_at"
    row = ", ".join(map(literal, (table, partition, fingerprint, digest, 1, 1)))

    def write(writer: Any) -> None:
        writer.cursor.execute(f"DELETE FROM partitions WHERE {where}")
        writer.cursor.execute(f"INSERT INTO partitions ({columns}) VALUES ({row}, now() - to_seconds({3600 * hours_ago}))")

    lake.commit(write)


def _compute(lake: Lake, step: Step, partition: str, hours_ago: float, n: int = 0) -> None:
    fingerprint = step.fingerprint(lake.stamps(), partition, n)
    _stamp(lake, step.table.name, partition, fingerprint, hours_ago)


def _waits(lake: Lake, take_in: int = 0, look: int = 0, whole: int = 0) -> dict[tuple[str, str], tuple[int | None, bool]]:
    """(Asset, partition) to its whole hours and whether settings alone differ."""
    with lake.snapshot() as reader:
        per_shard = [(TAKE_IN, Config(n=take_in)), (LOOK, Config(n=look))]
        rows = what_waits(reader, per_shard, [(WHOLE, Config(n=whole))], (ONE, TWO)).rows()
    return {(asset, name): (None if hours is None else round(hours), by) for asset, name, hours, by in rows}


def test_nothing_waits_where_all_is_current(laid: Lake) -> None:
    assert _waits(laid) == {}


def test_new_content_waits_since_it_was_written(laid: Lake) -> None:
    _stamp(laid, "clip_files", ONE, "f", hours_ago=3, digest="another")
    assert _waits(laid) == {("clips", ONE): (3, False)}


def test_content_that_nobody_has_taken_in_waits_since_it_came(laid: Lake) -> None:
    laid.commit(
        lambda writer: writer.cursor.execute(f"DELETE FROM partitions WHERE table_name = 'clips' AND partition = '{TWO}'")
    )
    assert _waits(laid) == {("clips", TWO): (10, False)}


def test_a_table_of_all_shards_waits_for_the_oldest_that_it_lacks(laid: Lake) -> None:
    for shard, hours_ago in ((ONE, 5), (TWO, 2)):
        _stamp(laid, "clip_files", shard, "f", hours_ago + 2, digest="another")
        _stamp(laid, CLIPS.name, shard, TAKE_IN.fingerprint(laid.stamps(), shard, 0), hours_ago + 1, digest="another")
        _stamp(laid, FACE_CLIPS.name, shard, LOOK.fingerprint(laid.stamps(), shard, 0), hours_ago, digest="another")
    assert _waits(laid) == {("lafid_dataset", UNPARTITIONED): (5, False)}


def test_content_written_again_as_it_was_waits_for_nothing(laid: Lake) -> None:
    _stamp(laid, "clip_files", ONE, "f", hours_ago=1)
    assert _waits(laid) == {}


def test_other_settings_are_no_new_content(laid: Lake) -> None:
    assert _waits(laid, look=1, whole=1) == {
        ("face_clips", ONE): (None, True),
        ("face_clips", TWO): (None, True),
        ("lafid_dataset", UNPARTITIONED): (None, True),
    }


def test_what_waits_for_a_file_to_come_back_is_neither(laid: Lake) -> None:
    stamps = laid.stamps()
    for shard in (ONE, TWO):
        _stamp(laid, CLIPS.name, shard, TAKE_IN.fingerprint(stamps, shard, 7), hours_ago=9)
    assert _waits(laid, take_in=7) == {("clips", ONE): (None, False)}


NOTHING = pl.DataFrame(schema=WAITING)


def test_tables_under_one_setting_pass() -> None:
    passed, said, figures = settings_differ([], [], NOTHING)
    assert passed
    assert said == "all tables are decided by what lafid.toml says"
    assert set(figures.values()) == {0}


def test_lines_that_differ_are_told_and_counted() -> None:
    passed, said, figures = settings_differ([f"face_info.line{number}: 1 -> 2" for number in range(5)], [], NOTHING)
    assert not passed
    assert "face_info.line0: 1 -> 2" in said
    assert said.endswith("and 2 more")
    assert figures["lines_that_differ"] == 5


def test_shards_under_different_settings_are_told() -> None:
    passed, said, figures = settings_differ([], ["pose_filtered_clips of one and two by another policy_sha256"], NOTHING)
    assert not passed
    assert said == "the shards stand under different settings: pose_filtered_clips of one and two by another policy_sha256"
    assert figures["tables_of_mixed_settings"] == 1


def test_shards_that_were_decided_otherwise_since_are_counted_and_waiting_ones_are_not() -> None:
    rows = [("face_info", "one", None, True), ("face_info", "two", 3.0, False), ("raw_clips", "three", None, False)]
    passed, said, figures = settings_differ([], [], pl.DataFrame(rows, schema=WAITING, orient="row"))
    assert not passed
    assert said.startswith("1 tables would be decided otherwise now")
    assert figures["decided_otherwise"] == 1


ASSETS = ("raw_clips", "face_info", "lafid_dataset")


def _waiting_rows(*rows: tuple[str, float | None]) -> pl.DataFrame:
    listed = [(asset, f"shard-{number}", hours, hours is None) for number, (asset, hours) in enumerate(rows)]
    return pl.DataFrame(listed, schema=WAITING, orient="row")


def test_content_that_waits_too_long_is_named_with_its_hours() -> None:
    waits = _waiting_rows(("face_info", 3.0), ("face_info", 40.0), ("raw_clips", 35.0), ("lafid_dataset", None))
    passed, said, figures = freshness(waits, ASSETS, CheckBounds())
    assert not passed
    assert said == "new content waits too long: face_info for 40 h"
    assert figures == {"hours_raw_clips_waits": 35.0, "hours_face_info_waits": 40.0, "hours_lafid_dataset_waits": 0.0}


def test_an_asset_may_have_a_bound_of_its_own() -> None:
    waits = _waiting_rows(("face_info", 40.0), ("lafid_dataset", 13.0))
    judged = freshness(waits, ASSETS, CheckBounds(longest_wait_hours_of={"face_info": 50.0, "lafid_dataset": 12.0}))
    assert judged.said == "new content waits too long: lafid_dataset for 13 h"


def test_a_table_at_rest_is_fresh() -> None:
    assert freshness(_waiting_rows(), ASSETS, CheckBounds()).passed
    assert freshness(_waiting_rows(("face_info", None)), ASSETS, CheckBounds()).passed, "other settings are no new content"
