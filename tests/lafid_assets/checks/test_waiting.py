"""What is not current, and why: content that waits, or other settings."""

from typing import Any

import pytest
from pydantic import BaseModel

from lafid_assets.checks.waiting import what_waits
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
