"""Which shards are not current: told from stamps, in one question, as the step itself would find."""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
from pydantic import BaseModel

from lafid_assets.schemas import (
    CLIPS,
    FACE_CLIPS,
    FACE_FRAMES,
    FACE_INFO,
    ID_CONSISTENT_CLIPS,
    IDENTITY_CLUSTERS,
    POLICY_SETTINGS,
    POSE_FILTERED_CLIPS,
    REFERENCE_CROPS,
    SPEECH_INFO,
    SPEECH_TAGGED_CLIPS,
)
from lafid_assets.steps.staleness import is_current, stale_shards, unfinished_shards
from lafid_assets.steps.step import Step
from resources.lake.duckdb_extensions import literal
from resources.lake.lake import UNPARTITIONED, Lake
from resources.lake.reader import Stamp

SHARDS = tuple(f"shard-{number:05d}-00000000" for number in range(3))


class Config(BaseModel):
    """What a test changes, and what it must not matter."""

    n: int = 0
    threads: int = 1


def _step(*writes: Any, reads: tuple[str, ...], **more: Any) -> Step:
    return Step(writes=writes, reads=reads, group="test", code_version="1", facts=lambda config: config.n, **more)


TAKE_IN = _step(CLIPS, reads=("clip_files",))
LOOK = _step(FACE_INFO, FACE_FRAMES, FACE_CLIPS, POLICY_SETTINGS, reads=(CLIPS.name,))
FILTER = _step(POSE_FILTERED_CLIPS, POLICY_SETTINGS, reads=(CLIPS.name, FACE_CLIPS.name, FACE_INFO.name))
JUDGE = _step(ID_CONSISTENT_CLIPS, reads=(POSE_FILTERED_CLIPS.name, FACE_INFO.name))
HEAR = _step(SPEECH_INFO, reads=(CLIPS.name, ID_CONSISTENT_CLIPS.name))
TAG = _step(SPEECH_TAGGED_CLIPS, reads=(SPEECH_INFO.name, "clip_rows"))
CROP = _step(REFERENCE_CROPS, reads=(ID_CONSISTENT_CLIPS.name, IDENTITY_CLUSTERS.name))
GROUP = _step(IDENTITY_CLUSTERS, reads=(ID_CONSISTENT_CLIPS.name,))
CHAIN = tuple((step, Config()) for step in (TAKE_IN, LOOK, FILTER, JUDGE, HEAR, TAG, CROP))


def _lay(lake: Lake, shards: Iterable[str], change: Callable[[str, str], str] = lambda table, shard: "") -> None:
    """Stamps as if every step had been computed in its turn, `change` in every digest; no rows."""
    stamps: dict[tuple[str, str], Stamp] = {}
    for shard in shards:
        own = {(name, shard): Stamp("f", f"{name} {shard} {change(name, shard)}", 1) for name in ("clip_files", "clip_rows")}
        own |= {(IDENTITY_CLUSTERS.name, UNPARTITIONED): Stamp("f", "persons", 1)}
        for step, config in CHAIN:
            fingerprint = step.fingerprint(own, shard, step.facts(config))
            written = [table.name for table in step.writes if not table.appended]
            own |= {(name, shard): Stamp(fingerprint, f"{name} {change(name, shard)}", 1) for name in written}
        stamps |= own
    persons = GROUP.fingerprint(dict(sorted(stamps.items())), UNPARTITIONED, 0)
    stamps[IDENTITY_CLUSTERS.name, UNPARTITIONED] = Stamp(persons, "persons", 1)
    rows = [(*key, stamp.fingerprint, stamp.digest, stamp.rows, 1) for key, stamp in stamps.items()]
    values = ", ".join(f"({', '.join(map(literal, row))}, now(), NULL)" for row in rows)
    lake.commit(lambda reader: reader.cursor.execute(f"INSERT INTO partitions VALUES {values}"))


def _stale(lake: Lake, *, chain: Any = CHAIN, shards: Iterable[str] = SHARDS) -> dict[str, str]:
    with lake.snapshot() as reader:
        return stale_shards(reader, chain, shards)


@pytest.fixture
def laid(lake: Lake) -> Lake:
    _lay(lake, SHARDS)
    return lake


def _digest(lake: Lake, table: str, shard: str, digest: str) -> None:
    where = f"table_name = {literal(table)} AND partition = {literal(shard)}"
    lake.commit(lambda reader: reader.cursor.execute(f"UPDATE partitions SET digest = {literal(digest)} WHERE {where}"))


def test_current_shards_are_not_listed(laid: Lake) -> None:
    assert _stale(laid) == {}


def test_a_shard_that_nobody_has_seen_begins_with_the_first_step(laid: Lake) -> None:
    assert _stale(laid, shards=[*SHARDS, "new"]) == {"new": "clips"}


def test_changed_content_makes_the_first_step_stale_that_reads_it(laid: Lake) -> None:
    _digest(laid, CLIPS.name, SHARDS[1], "another")
    _digest(laid, "clip_rows", SHARDS[2], "another caption")
    assert _stale(laid) == {SHARDS[1]: "face_info", SHARDS[2]: "speech_tagged_clips"}


def test_a_table_of_no_shard_makes_every_shard_stale_that_reads_it(laid: Lake) -> None:
    _digest(laid, IDENTITY_CLUSTERS.name, UNPARTITIONED, "another")
    assert _stale(laid) == dict.fromkeys(SHARDS, "reference_crops")


def test_a_lost_table_makes_its_step_stale(laid: Lake) -> None:
    laid.commit(lambda reader: reader.cursor.execute("DELETE FROM partitions WHERE table_name = 'face_frames'"))
    assert _stale(laid) == dict.fromkeys(SHARDS, "face_info")


def test_changed_facts_and_code_make_their_step_stale(laid: Lake) -> None:
    def chain(step: Step, config: Config) -> Any:
        return [(step, config) if known.asset == step.asset else (known, same) for known, same in CHAIN]

    assert _stale(laid, chain=chain(FILTER, Config(n=1))) == dict.fromkeys(SHARDS, "pose_filtered_clips")
    assert _stale(laid, chain=chain(replace(HEAR, code_version="2"), Config())) == dict.fromkeys(SHARDS, "speech_info")
    assert _stale(laid, chain=chain(FILTER, Config(threads=8))) == {}


def test_unsettled_shards_are_stale(laid: Lake) -> None:
    waiting = replace(TAG, unsettled=lambda config: f"SELECT shard FROM (VALUES ('{SHARDS[config.n]}')) AS waiting (shard)")
    chain = [(waiting, same) if step is TAG else (step, same) for step, same in CHAIN]
    assert _stale(laid, chain=chain) == {SHARDS[0]: "speech_tagged_clips"}


def test_shards_under_other_settings_are_finished_and_those_with_something_new_are_not(laid: Lake) -> None:
    def unfinished(chain: Any) -> set[str]:
        with laid.snapshot() as reader:
            return unfinished_shards(reader, chain, stale_shards(reader, chain, SHARDS))

    stricter = [(step, Config(n=1) if step is FILTER else config) for step, config in CHAIN]
    assert unfinished(stricter) == set()
    _digest(laid, "clip_files", SHARDS[0], "another file")
    later = "digest = 'another caption', written_at = now() + INTERVAL 1 HOUR"
    laid.commit(lambda reader: reader.cursor.execute(f"UPDATE partitions SET {later} WHERE table_name = 'clip_rows'"))
    laid.commit(lambda reader: reader.cursor.execute(f"DELETE FROM partitions WHERE partition = '{SHARDS[1]}' AND row_count = 1"))
    assert unfinished(CHAIN) == set(SHARDS)
    assert unfinished(stricter) == {*SHARDS[:2]}, "what the third lacks comes after the step that is stale by its settings"


def test_a_step_over_all_shards(laid: Lake) -> None:
    def current(step: Step = GROUP, config: BaseModel | None = None) -> bool:
        with laid.snapshot() as reader:
            return is_current(reader, step, config or Config())

    assert current()
    assert not current(config=Config(n=1))
    assert not current(replace(GROUP, unsettled=lambda _: "SELECT 'all' AS shard"))
    _digest(laid, ID_CONSISTENT_CLIPS.name, SHARDS[2], "another")
    assert not current()


def test_a_thousand_shards_cost_milliseconds_each(lake: Lake) -> None:
    shards = [f"shard-{number:05d}-00000000" for number in range(1000)]
    _lay(lake, shards)
    _digest(lake, CLIPS.name, shards[7], "another")
    started = time.process_time()
    assert _stale(lake, shards=shards) == {shards[7]: "face_info"}
    cpu_s = (time.process_time() - started) / len(shards)
    print(f"{1000 * cpu_s:.3f} CPU ms a shard")
    assert cpu_s < 0.003
