"""The shape of every step, through Dagster: computed when something changed and only then, blocked when a contract breaks."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import dagster as dg
import polars as pl
import pytest
from pydantic import Field

from lafid_assets.lafid_toml import settings_check
from lafid_assets.outcomes import Reason
from lafid_assets.runs.run_settings import SETTINGS_TAG
from lafid_assets.steps.contract import Column
from lafid_assets.steps.partitions import CLIP_SHARDS
from lafid_assets.steps.step_registry import STEPS, all_steps
from lafid_assets.steps.step_run import Finding
from resources.lake.lake import Lake
from resources.lake.reader import Reader
from resources.leases.leases import Lease
from resources.settings import Settings
from resources.store.ledger import Ledger
from tests.lafid_assets.road import (
    ADD,
    AFTER,
    ENOUGH,
    FOLLOW,
    JUDGE,
    JUDGED,
    ONE,
    SEEN,
    THREE,
    TWO,
    Road,
    computed,
    failed_checks,
    failure,
    materialized,
)


def test_a_step_is_computed_once(road: Road) -> None:
    assert computed(road.run())
    before = road.snapshot()
    assert not computed(road.run())
    assert road.calls == [ONE]
    assert road.snapshot() == before  # a current partition writes nothing
    assert road.lake.read("judged", ONE)["clip_id"].to_list() == ["a", "b"]
    assert road.lake.read("seen", ONE).height == 2
    assert road.lake.read("said")["n"].to_list() == [0]


def test_a_current_partition_is_reported_as_a_computed_one(road: Road) -> None:
    road.options = {"metadata": lambda shard, frames: {"sights": frames["seen"].height, "tables": sorted(frames)}}
    told = [materialized(road.run(), "judged")[ONE] for _ in range(2)]
    assert [each.pop("computed") for each in told] == [True, False]
    assert told[0] == told[1]
    assert (told[0]["dagster/partition_row_count"], told[0]["sights"], told[0]["clips_ok"]) == (2, 2, 2)


def test_changed_config_computes_again(road: Road) -> None:
    road.run()
    assert computed(road.run(n=1))
    assert road.values() == [1, 1]
    assert road.lake.read("said")["n"].to_list() == [0, 1]


def test_config_that_is_no_fact_computes_nothing(road: Road) -> None:
    road.judge = replace(JUDGE, facts=lambda config: {"n": config.n // 10})
    road.run()
    assert not computed(road.run(n=9))
    assert computed(road.run(n=10))


def test_changed_code_version_computes_again(road: Road) -> None:
    road.run()
    road.judge = replace(JUDGE, code_version="2")
    assert computed(road.run())


def test_changed_upstream_content_computes_again(road: Road) -> None:
    road.run()
    road.put_source("a", "b", "c")
    assert computed(road.run())
    assert road.lake.read("judged", ONE).height == 3


def test_upstream_rewritten_with_equal_content_computes_nothing(road: Road) -> None:
    road.run()
    road.put_source("b", "a", fingerprint="another")
    assert not computed(road.run())


def test_a_lost_companion_table_computes_again(road: Road) -> None:
    road.run()
    road.lake.commit(lambda reader: reader.cursor.execute("DELETE FROM partitions WHERE table_name = 'seen'"))
    assert computed(road.run())


def test_an_unsettled_shard_is_computed_again_and_no_other(three: Road) -> None:
    three.judge = replace(JUDGE, unsettled=lambda config: f"SELECT shard FROM seen WHERE clip_id = 'c' AND n = {config.n}")
    assert three.run(ONE, TWO, THREE).success
    three.calls.clear()
    assert three.run(ONE, TWO, THREE).success
    assert three.calls == [TWO]


def test_lost_files_that_rows_point_to_compute_again(road: Road) -> None:
    road.run()
    seen = []
    road.options = {"settled": lambda shard, frames: seen.append((shard, frames["seen"].height)) or False}
    assert computed(road.run())
    assert seen == [(ONE, 2)]
    road.options = {"settled": lambda shard, frames: True}
    assert not computed(road.run())


def test_other_shards_do_not_matter_to_a_shard_but_all_matter_to_a_total(road: Road) -> None:
    road.run(n=1)
    assert computed(road.run_total())
    road.put_source("c", shard=TWO)
    assert not computed(road.run(n=1))
    assert not computed(road.run_total())
    assert computed(road.run(TWO, n=5))
    assert computed(road.run_total())
    assert road.lake.read("total")["n"].to_list() == [7]


def test_a_view_cannot_be_read_by_a_step(road: Road) -> None:
    """It has no stamp, so that nothing would ever change."""
    with pytest.raises(ValueError, match="judged reads the view shown"):
        replace(JUDGE, reads=("source", "shown"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"n": -1}, "judged: n: below 0"),
        ({"clip_id": "same"}, "judged: 1 values of (clip_id) occur more than once"),
        ({"status": "rejected"}, "judged: status rejected with reason None"),
        ({"reason": Reason.NO_FACE}, "judged: status ok with reason no_face"),
    ],
)
def test_broken_contract_fails_the_run_and_writes_nothing(road: Road, row: dict[str, Any], message: str) -> None:
    road.row = row
    assert message in failed_checks(road.run())["contract"]
    assert road.lake.stamps(["judged", "seen"]) == {}
    assert road.lake.read("said").is_empty()


def test_broken_contract_keeps_what_was_there(road: Road) -> None:
    road.run()
    road.row = {"n": -1}
    assert failed_checks(road.run(n=3))
    assert road.values() == [0, 0]


def test_lost_clip_breaks_the_count(road: Road) -> None:
    road.lose = {"b"}
    assert failed_checks(road.run()) == {"counts_add_up": "1 clips lost, the first b"}
    assert road.lake.stamps(["judged"]) == {}


def test_invented_clip_breaks_the_count(road: Road) -> None:
    road.put_source("a", "b")
    road.row = {"clip_id": "z"}
    assert "1 clips invented, the first z" in failed_checks(road.run())["counts_add_up"]


def test_own_checks_block_too(road: Road) -> None:
    def never(frames: object) -> list[str]:
        """It never holds."""
        return ["no"]

    road.judge = replace(JUDGE, checks={"never": never})
    assert failed_checks(road.run()) == {"never": "no"}
    [spec] = [spec for spec in road.judge.arguments(deps=[])["check_specs"] if spec.name == "never"]
    assert (spec.blocking, spec.description) == (True, "It never holds.")


def test_a_broken_contract_stops_what_comes_after(road: Road) -> None:
    road.row = {"n": -1}
    assert not road.run(only=False).success
    assert road.calls == [ONE]


def test_a_later_check_fails_the_shard_which_keeps_what_it_has(road: Road) -> None:
    road.judge = replace(JUDGE, later_checks={"enough": ENOUGH})
    road.options = {"findings": lambda shard, frames: {"enough": Finding(1, f"{frames['judged'].height} of 3")}}
    for _ in range(2):  # of a current shard, too
        assert failed_checks(road.run()) == {"enough": "2 of 3"}
    assert road.calls == [ONE]
    assert road.values() == [0, 0]
    road.options = {}  # a later check that found nothing to say has passed
    assert road.run().success


def test_frames_are_revised_in_the_transaction_that_writes_them(road: Road) -> None:
    def without_b(reader: Reader, frames: Mapping[str, pl.DataFrame]) -> Mapping[str, pl.DataFrame]:
        assert reader.read("source", ONE).height == 2
        return dict(frames) | {"judged": frames["judged"].filter(pl.col("clip_id") != "b")}

    road.options = {"revise": without_b, "metadata": lambda shard, frames: {"written": frames["judged"].height}}
    told = materialized(road.run(), "judged")[ONE]
    assert road.lake.read("judged", ONE)["clip_id"].to_list() == ["a"]
    assert (told["dagster/row_count"], told["dagster/partition_row_count"], told["written"]) == (1, 1, 1)


def test_a_run_that_was_taken_for_dead_writes_nothing(road: Road) -> None:
    """Its successor, with a later lease, has written the partition meanwhile."""
    row = {"clip_id": "a", "shard": ONE, "n": 7, "status": "ok", "reason": None, "detail": None}
    road.meanwhile = lambda shard: road.lake.put({"judged": JUDGED.frame([row])}, shard, "successor", token=2**62)
    result = road.run()
    assert not result.success
    assert "written by a later run" in failure(result, "judged")
    assert road.values() == [7]
    assert road.lake.stamps(["seen"]) == {}


def test_a_ledger_is_kept_until_the_partition_is_written(road: Road) -> None:
    made: list[Ledger] = []

    def ledger(shard: str, lease: Lease) -> Ledger:
        assert lease.token > 0
        made.append(Ledger(road.lake.store, "judged", shard, "f", lease, seconds_per_part=0))
        return made[-1]

    def add(shard: str) -> None:
        with made[-1].writing() as parts:
            parts.add({"judged": pl.DataFrame({"clip_id": [f"try {len(made)}"]})})

    road.options, road.meanwhile = {"ledger": ledger}, add
    road.breaks = {ONE}
    assert not road.run().success
    road.breaks, road.row = set(), {"n": -1}
    assert failed_checks(road.run())
    assert [part["judged"]["clip_id"][0] for part in made[-1].read()] == ["try 1", "try 2"]
    road.row = {}
    assert road.run().success
    assert road.lake.store.list_tree("ledger") == []


def test_asset_tells_dagster_its_contract() -> None:
    arguments = JUDGE.arguments(deps=["source"], pool="gpu")
    assert arguments["name"] == "judged"
    assert arguments["partitions_def"] is CLIP_SHARDS
    assert [c.name for c in arguments["metadata"]["dagster/column_schema"].columns] == list(JUDGED.dtypes)
    assert {spec.name for spec in arguments["check_specs"]} == {"contract", "counts_add_up"}
    assert all(spec.blocking and spec.description for spec in arguments["check_specs"])
    assert ADD.arguments(deps=[])["partitions_def"] is ADD.arguments(deps=[])["backfill_policy"] is None
    assert "counts_add_up" not in {spec.name for spec in ADD.arguments(deps=[])["check_specs"]}


def test_run_shows_rows_and_outcomes(road: Road) -> None:
    [event] = road.run().get_asset_materialization_events()
    metadata = event.materialization.metadata
    assert metadata["dagster/partition_row_count"].value == 2
    assert (metadata["clips_ok"].value, metadata["clips_error"].value) == (2, 0)
    assert (metadata["keep_rate"].value, metadata["error_rate"].value) == (1.0, 0.0)
    assert [record.data for record in metadata["outcomes"].records] == [{"status": "ok", "reason": "", "clips": 2}]


class BoundedConfig(dg.Config):
    """What the file and the run tell."""

    n: int = Field(0, ge=0)
    text: str = "default"


@pytest.fixture
def told(road: Road, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., dg.ExecuteInProcessResult]]:
    """Runs an asset that notes what it is told, under the home's `lafid.toml`, as `materialize(text, named)`."""
    monkeypatch.setattr(settings_check, "deciding", dict)
    others = dict(all_steps())  # loaded now, so that they are not loaded, and lost, while this asset is the only one
    STEPS.clear()

    @ADD.as_asset(deps=[])
    def total(context: dg.AssetExecutionContext, config: BoundedConfig) -> dg.MaterializeResult:
        road.calls.append(f"{config.n} {config.text}")
        return dg.MaterializeResult()

    def materialize(text: str, named: dict[str, Any]) -> dg.ExecuteInProcessResult:
        settings.home.mkdir(exist_ok=True)
        (settings.home / "lafid.toml").write_text(text)
        return dg.materialize(
            [total],
            instance=road.instance,
            resources={"settings": settings},
            run_config={"ops": {"total": {"config": named}}},
            raise_on_error=False,
        )

    yield materialize
    STEPS.clear()
    STEPS.update(others)


def test_an_asset_is_told_by_the_file_what_its_run_leaves_out(road: Road, told: Callable[..., Any]) -> None:
    first = told("[total]\nn = 7\n", {})
    second = told("[total]\nn = 7\n", {"n": 8, "text": "named"})
    assert road.calls == ["7 default", "8 named"]
    tags = [road.instance.get_run_by_id(run.run_id).tags[SETTINGS_TAG] for run in (first, second)]
    assert tags[0] != tags[1]


def test_a_run_may_name_environment_variables(road: Road, told: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAFID_TEST_N", "8")
    told("", {"n": {"env": "LAFID_TEST_N"}, "text": "named"})
    assert road.calls == ["8 named"]


def test_a_value_out_of_bounds_is_refused_before_anything_is_computed(road: Road, told: Callable[..., Any]) -> None:
    for text, named in (("[total]\nn = -1\n", {}), ("", {"n": -1})):
        run = told(text, named)
        assert not run.success
        assert failure(run, "total").startswith("total failed: ")
        assert "n: Input should be greater than or equal to 0" in failure(run, "total")
    assert road.calls == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[reference_crops]\nmask = "nosuch"\n', "there is no mask 'nosuch'"),
        ('[speech_info]\nwhisper = "nosuch"\n', "there is no speech model 'nosuch'"),
    ],
)
def test_a_name_that_is_none_is_refused_by_the_first_step_of_its_run(
    settings: Settings, lake: Lake, text: str, complaint: str
) -> None:
    from lafid_assets.definitions import build_defs

    settings.home.mkdir(exist_ok=True)
    (settings.home / "lafid.toml").write_text(text)
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions(str(CLIP_SHARDS.name), [ONE])
    job = build_defs(settings, {"lake": lake}).resolve_job_def("curate_shard")
    run = job.execute_in_process(instance=instance, partition_key=ONE, raise_on_error=False)
    assert f"raw_clips ({ONE}) failed: {complaint}" in failure(run, "raw_clips")


def test_a_table_that_is_not_of_shards_has_its_rows_alone(road: Road) -> None:
    road.run()
    [event] = road.run_total().get_asset_materialization_events()
    assert event.materialization.metadata["dagster/row_count"].value == 1
    assert "dagster/partition_row_count" not in event.materialization.metadata


def test_outcomes_are_those_of_the_table_that_has_a_row_a_clip() -> None:
    """Not of the first, where that has a row a sight, nor of one that says nothing of how clips end."""
    assert replace(JUDGE, writes=(SEEN, AFTER, JUDGED)).outcomes == "judged"
    assert FOLLOW.outcomes is None


def test_what_a_column_means_is_no_markdown_but_code() -> None:
    table = replace(SEEN, columns=(Column("n", pl.Int64, "> 0: left; `<model>` or <none>"),))
    [column] = replace(JUDGE, writes=(table,)).arguments(deps=[])["metadata"]["dagster/column_schema"].columns
    assert column.description == "\\> 0: left; `<model>` or \\<none\\>"
