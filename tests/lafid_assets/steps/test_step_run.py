"""Several shards in one run, through Dagster: each is brought up to date by itself, and a failing one costs itself alone."""

import os
from dataclasses import replace

import pytest

from lafid_assets.steps.step_run import Finding
from lafid_assets.workers.pool import Children, Done, map_isolated
from resources.lake.reader import TableMissing
from tests.lafid_assets.road import ENOUGH, JUDGE, ONE, THREE, TWO, Road, failure, materialized

ONE_OF_THREE = "[1 of 3 shards failed: re-execute the run from failure, which computes only what failed]"


def test_several_shards_are_brought_up_to_date_in_one_run(three: Road) -> None:
    three.run(TWO)
    result = three.run(ONE, TWO, THREE, only=False)
    assert result.success
    assert three.calls[1:] == [ONE, THREE, *(f"after {shard}" for shard in (ONE, TWO, THREE))]
    told = materialized(result, "judged")
    assert {shard: (each["computed"], each["dagster/partition_row_count"]) for shard, each in told.items()} == {
        ONE: (True, 2),
        TWO: (False, 1),
        THREE: (True, 1),
    }
    assert {each["dagster/row_count"] for each in told.values()} == {4}, "of the whole table"


def test_every_shard_says_which_settings_decided_it(three: Road) -> None:
    """Also of the tables that the step writes beside its own; a shard that is decided anew says so."""
    three.run(ONE, TWO)
    three.run(TWO, THREE, n=5)
    rows = three.lake.sql(
        "SELECT partition, table_name, settings FROM partitions JOIN policy_settings ON policy_sha256 = settings_sha256 "
        "ORDER BY ALL"
    ).rows()
    assert rows == [
        (shard, table, f'{{"n": {n}}}') for shard, n in ((ONE, 0), (TWO, 5), (THREE, 5)) for table in ("judged", "seen")
    ]


def test_a_failing_shard_costs_itself(three: Road) -> None:
    three.breaks = {TWO}
    result = three.run(ONE, TWO, THREE, only=False)
    assert three.calls == [ONE, TWO, THREE, f"after {ONE}", f"after {THREE}"]
    assert not result.success
    assert failure(result, "after") == f"judged ({TWO}) failed: the disk is gone {ONE_OF_THREE}"
    assert materialized(result, "judged")[TWO] == {"failed": f"judged ({TWO}) failed: the disk is gone"}
    assert three.materialized("after") == {ONE, THREE}
    assert {shard for table, shard in three.lake.stamps(["after"])} == {ONE, THREE}
    three.breaks, three.calls = set(), []
    assert three.run(ONE, TWO, THREE, only=False).success
    assert three.calls == [TWO, f"after {TWO}"]


def test_a_broken_contract_costs_its_shard_alone(three: Road) -> None:
    three.lose = {"c"}
    result = three.run(ONE, TWO, THREE, only=False)
    assert not result.success
    told = f"judged ({TWO}) broke its check counts_add_up: 1 clips lost, the first c; nothing of it is written {ONE_OF_THREE}"
    assert failure(result, "after") == told
    [evaluation] = [each for each in result.get_asset_check_evaluations() if not each.passed]
    assert (evaluation.check_name, evaluation.metadata["shards"].value) == ("counts_add_up", TWO)
    assert {shard for table, shard in three.lake.stamps(["judged"])} == {ONE, THREE}


def test_a_later_check_of_several_shards_costs_its_shard_alone(three: Road) -> None:
    three.judge = replace(JUDGE, later_checks={"enough": ENOUGH})
    three.options = {"findings": lambda shard, frames: {"enough": Finding(int(shard == TWO), shard)}}
    result = three.run(ONE, TWO, THREE, only=False)
    assert failure(result, "after") == f"judged ({TWO}) broke its check enough: {TWO} {ONE_OF_THREE}"
    assert three.values(TWO) == [0]
    with pytest.raises(TableMissing):
        three.lake.read("after", TWO)


def test_a_run_of_one_asset_fails_for_its_failing_shard(three: Road) -> None:
    three.breaks = {ONE}
    result = three.run(ONE, TWO, THREE)
    assert not result.success
    assert failure(result, "judged") == f"judged ({ONE}) failed: the disk is gone {ONE_OF_THREE}"
    assert three.materialized("judged") == {TWO, THREE}


def test_nothing_goes_on_where_every_shard_failed(three: Road) -> None:
    three.breaks = {ONE, TWO, THREE}
    result = three.run(ONE, TWO, THREE, only=False)
    assert f"[3 of 3 shards failed, also {TWO}, {THREE}: re-execute" in failure(result, "judged")
    assert three.calls == [ONE, TWO, THREE]


def test_shards_of_a_step_that_opens_videos_share_their_children(three: Road) -> None:
    pids: list[int] = []

    def look(_: str) -> None:
        [(_, ending)] = map_isolated(_pid, [0], lambda _: 60.0, Children(1))
        assert isinstance(ending, Done)
        pids.append(ending.value)

    three.judge, three.meanwhile = replace(JUDGE, opens_videos=True), look
    assert three.run(ONE, TWO, THREE).success
    assert len(pids) == 3
    assert len(set(pids)) == 1


def _pid(_: int) -> int:
    return os.getpid()
