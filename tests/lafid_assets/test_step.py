"""The shape of every step, through Dagster: computed when something changed and only then, blocked when a contract breaks, and a
failing shard costs itself alone."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from lafid_assets import step as step_module
from lafid_assets.contract import Column, TableSchema
from lafid_assets.outcomes import Reason, Status
from lafid_assets.partitions import CLIP_SHARDS
from lafid_assets.schemas.columns import CLIP_ID, OUTCOME, SHARD
from lafid_assets.step import Step
from lafid_assets.step_run import Finding
from resources.catalog import Catalog
from resources.file_store import FileStore
from resources.lake import Lake
from resources.lake_reader import Reader, TableMissing
from resources.leases import Lease
from resources.ledger import Ledger

ONE, TWO, THREE = "shard-00000-aaaaaaaa", "shard-00001-bbbbbbbb", "shard-00002-cccccccc"
SOURCE = TableSchema("source", "What comes in.", ("clip_id",), (CLIP_ID, SHARD))
JUDGED = TableSchema("judged", "A row a clip.", ("clip_id",), (CLIP_ID, SHARD, Column("n", pl.Int64, "n", minimum=0), *OUTCOME))
SEEN = TableSchema("seen", "A row a sight.", ("clip_id", "n"), (CLIP_ID, SHARD, Column("n", pl.Int64, "n")))
SAID = TableSchema("said", "Every n there was.", ("n",), (Column("n", pl.Int64, "n"),), partitioned=False, appended=True)
AFTER = TableSchema("after", "What comes after.", ("clip_id",), (CLIP_ID, SHARD))
TOTAL = TableSchema("total", "The sum.", ("n",), (Column("n", pl.Int64, "n"),), partitioned=False)
SHOWN = TableSchema("shown", "A view.", ("clip_id",), (CLIP_ID, SHARD), view="SELECT clip_id, shard FROM source")
TABLES = (SOURCE, JUDGED, SEEN, SAID, AFTER, TOTAL, SHOWN)
JUDGE = Step(writes=(JUDGED, SEEN, SAID), reads=("source",), group="test", code_version="1")
FOLLOW = Step(writes=(AFTER,), reads=("judged",), group="test", code_version="1")
ADD = Step(writes=(TOTAL,), reads=("judged",), group="test", code_version="1")
ENOUGH = dg.AssetCheckSpec("enough", asset="judged", blocking=True)


class JudgeConfig(dg.Config):
    """What the test changes."""

    n: int = 0


class Road:
    """Three steps on a lake: `judged` (with `seen` and `said`) and `after` a shard, `total` over all; counts what is computed."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self.calls: list[str] = []
        self.judge, self.row = JUDGE, {}
        self.lose: set[str] = set()
        self.breaks: set[str] = set()
        self.meanwhile: Callable[[str], object] = lambda shard: None
        self.options: dict[str, Any] = {}
        self.instance = dg.DagsterInstance.ephemeral()
        self.instance.add_dynamic_partitions(CLIP_SHARDS.name, [ONE])

    def put_source(self, *clips: str, shard: str = ONE, fingerprint: str = "f") -> None:
        frame = SOURCE.frame({"clip_id": clip, "shard": shard} for clip in clips)
        self.lake.put({"source": frame}, shard, fingerprint)
        self.instance.add_dynamic_partitions(CLIP_SHARDS.name, [shard])

    def run(self, *shards: str, n: int = 0, only: bool = True) -> dg.ExecuteInProcessResult:
        """`judged` of the shards, the first where none is named; and `after`, unless `only`."""
        first, last = (shards or (ONE,))[0], (shards or (ONE,))[-1]
        tags = {ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last}
        return dg.materialize(
            self._assets()[: 1 if only else 2],
            instance=self.instance,
            run_config={"ops": {"judged": {"config": {"n": n}}}},
            raise_on_error=False,
            **({"tags": tags} if len(shards) > 1 else {"partition_key": first}),
        )

    def run_total(self) -> dg.ExecuteInProcessResult:
        return dg.materialize(self._assets()[2:], instance=self.instance, raise_on_error=False)

    def values(self, shard: str = ONE) -> list[int]:
        return self.lake.read("judged", shard)["n"].to_list()

    def materialized(self, asset: str) -> set[str]:
        """As Dagster has it."""
        return set(self.instance.get_materialized_partitions(dg.AssetKey(asset)))

    def snapshot(self) -> int:
        with self.lake.snapshot() as reader:
            return reader.snapshot()

    def _assets(self) -> list[dg.AssetsDefinition]:
        @dg.asset(**self.judge.arguments(deps=[]))
        def judged(context: dg.AssetExecutionContext, config: JudgeConfig) -> dg.MaterializeResult:
            def compute(shard: str) -> dict[str, pl.DataFrame]:
                self.calls.append(shard)
                self.meanwhile(shard)
                if shard in self.breaks:
                    raise OSError("the disk is gone")
                kept = [row for row in self.lake.read("source", shard).to_dicts() if row["clip_id"] not in self.lose]
                good = {"n": config.n, "status": Status.OK, "reason": None, "detail": None} | self.row
                return {
                    "judged": JUDGED.frame(row | good for row in kept),
                    "seen": SEEN.frame(row | {"n": config.n} for row in kept),
                    "said": SAID.frame([{"n": config.n}]),
                }

            clips_in = lambda shard: self.lake.read("source", shard)["clip_id"]  # noqa: E731
            return self.judge.materialize(context, config, self.lake, compute, clips_in=clips_in, **self.options)

        @dg.asset(**FOLLOW.arguments(deps=["judged"]))
        def after(context: dg.AssetExecutionContext, config: JudgeConfig) -> dg.MaterializeResult:
            def compute(shard: str) -> dict[str, pl.DataFrame]:
                self.calls.append(f"after {shard}")
                return {"after": self.lake.read("judged", shard, ["clip_id", "shard"])}

            return FOLLOW.materialize(
                context, config, self.lake, compute, clips_in=lambda shard: self.lake.read("judged", shard)["clip_id"]
            )

        @dg.asset(**ADD.arguments(deps=["judged"]))
        def total(context: dg.AssetExecutionContext, config: JudgeConfig) -> dg.MaterializeResult:
            def compute(_: str) -> dict[str, pl.DataFrame]:
                self.calls.append("total")
                return {"total": TOTAL.frame([{"n": int(self.lake.read("judged")["n"].sum())}])}

            return ADD.materialize(context, config, self.lake, compute)

        return [judged, after, total]


@pytest.fixture(scope="module")
def _prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose lake has the tables of the road and two clips in `source`: copying it is cheaper than making them."""
    home = tmp_path_factory.mktemp("road") / "home"
    with closing(_lake(home)) as lake:
        lake.put({"source": SOURCE.frame([{"clip_id": clip, "shard": ONE} for clip in "ab"])}, ONE, "f")
    return home


def _lake(home: Path) -> Lake:
    store = FileStore(str(home / "store"))
    return Lake(store, Catalog.of(store, None), home, TABLES)


@pytest.fixture
def road(_prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Road]:
    monkeypatch.setattr(step_module, "BY_NAME", {table.name: table for table in TABLES})
    shutil.copytree(_prepared, tmp_path / "home")
    with closing(_lake(tmp_path / "home")) as lake:
        yield Road(lake)


@pytest.fixture
def three(road: Road) -> Road:
    """The same with three shards of a clip or two."""
    road.put_source("c", shard=TWO)
    road.put_source("d", shard=THREE)
    return road


def _computed(result: dg.ExecuteInProcessResult) -> bool:
    assert result.success
    [event] = result.get_asset_materialization_events()
    return bool(event.materialization.metadata["computed"].value)


def _failed_checks(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    assert not result.success
    return {e.check_name: e.metadata["first"].value for e in result.get_asset_check_evaluations() if not e.passed}


def _materialized(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Mapping[str, Any]]:
    """Shard to metadata."""
    events = [event.materialization for event in result.get_asset_materialization_events()]
    return {
        str(event.partition): {name: value.value for name, value in event.metadata.items()}
        for event in events
        if event.asset_key.to_user_string() == asset
    }


def _failure(result: dg.ExecuteInProcessResult, asset: str) -> str:
    [error] = [event.step_failure_data.error for event in result.all_events if event.is_step_failure and event.step_key == asset]
    return (
        str(error.cause.message if error.cause else error.message)
        .strip()
        .removeprefix("dagster._core.definitions.events.Failure: ")
    )


def test_a_step_is_computed_once(road: Road) -> None:
    assert _computed(road.run())
    before = road.snapshot()
    assert not _computed(road.run())
    assert road.calls == [ONE]
    assert road.snapshot() == before  # a current partition writes nothing
    assert road.lake.read("judged", ONE)["clip_id"].to_list() == ["a", "b"]
    assert road.lake.read("seen", ONE).height == 2
    assert road.lake.read("said")["n"].to_list() == [0]


def test_a_current_partition_is_reported_as_a_computed_one(road: Road) -> None:
    road.options = {"metadata": lambda shard, frames: {"sights": frames["seen"].height, "tables": sorted(frames)}}
    told = [_materialized(road.run(), "judged")[ONE] for _ in range(2)]
    assert [each.pop("computed") for each in told] == [True, False]
    assert told[0] == told[1]
    assert (told[0]["dagster/row_count"], told[0]["sights"], told[0]["clips_ok"]) == (2, 2, 2)


def test_changed_config_computes_again(road: Road) -> None:
    road.run()
    assert _computed(road.run(n=1))
    assert road.values() == [1, 1]
    assert road.lake.read("said")["n"].to_list() == [0, 1]


def test_config_that_is_no_fact_computes_nothing(road: Road) -> None:
    road.judge = replace(JUDGE, facts=lambda config: {"n": config.n // 10})
    road.run()
    assert not _computed(road.run(n=9))
    assert _computed(road.run(n=10))


def test_changed_code_version_computes_again(road: Road) -> None:
    road.run()
    road.judge = replace(JUDGE, code_version="2")
    assert _computed(road.run())


def test_changed_upstream_content_computes_again(road: Road) -> None:
    road.run()
    road.put_source("a", "b", "c")
    assert _computed(road.run())
    assert road.lake.read("judged", ONE).height == 3


def test_upstream_rewritten_with_equal_content_computes_nothing(road: Road) -> None:
    road.run()
    road.put_source("b", "a", fingerprint="another")
    assert not _computed(road.run())


def test_a_lost_companion_table_computes_again(road: Road) -> None:
    road.run()
    road.lake.commit(lambda reader: reader.cursor.execute("DELETE FROM partitions WHERE table_name = 'seen'"))
    assert _computed(road.run())


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
    assert _computed(road.run())
    assert seen == [(ONE, 2)]
    road.options = {"settled": lambda shard, frames: True}
    assert not _computed(road.run())


def test_other_shards_do_not_matter_to_a_shard_but_all_matter_to_a_total(road: Road) -> None:
    road.run(n=1)
    assert _computed(road.run_total())
    road.put_source("c", shard=TWO)
    assert not _computed(road.run(n=1))
    assert not _computed(road.run_total())
    assert _computed(road.run(TWO, n=5))
    assert _computed(road.run_total())
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
    assert message in _failed_checks(road.run())["contract"]
    assert road.lake.stamps(["judged", "seen"]) == {}
    assert road.lake.read("said").is_empty()


def test_broken_contract_keeps_what_was_there(road: Road) -> None:
    road.run()
    road.row = {"n": -1}
    assert _failed_checks(road.run(n=3))
    assert road.values() == [0, 0]


def test_lost_clip_breaks_the_count(road: Road) -> None:
    road.lose = {"b"}
    assert _failed_checks(road.run()) == {"counts_add_up": "1 clips lost, the first b"}
    assert road.lake.stamps(["judged"]) == {}


def test_invented_clip_breaks_the_count(road: Road) -> None:
    road.put_source("a", "b")
    road.row = {"clip_id": "z"}
    assert "1 clips invented, the first z" in _failed_checks(road.run())["counts_add_up"]


def test_own_checks_block_too(road: Road) -> None:
    def never(frames: object) -> list[str]:
        """It never holds."""
        return ["no"]

    road.judge = replace(JUDGE, checks={"never": never})
    assert _failed_checks(road.run()) == {"never": "no"}
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
        assert _failed_checks(road.run()) == {"enough": "2 of 3"}
    assert road.calls == [ONE]
    assert road.values() == [0, 0]
    road.options = {}  # a later check that found nothing to say has passed
    assert road.run().success


def test_frames_are_revised_in_the_transaction_that_writes_them(road: Road) -> None:
    def without_b(reader: Reader, frames: Mapping[str, pl.DataFrame]) -> Mapping[str, pl.DataFrame]:
        assert reader.read("source", ONE).height == 2
        return dict(frames) | {"judged": frames["judged"].filter(pl.col("clip_id") != "b")}

    road.options = {"revise": without_b, "metadata": lambda shard, frames: {"written": frames["judged"].height}}
    told = _materialized(road.run(), "judged")[ONE]
    assert road.lake.read("judged", ONE)["clip_id"].to_list() == ["a"]
    assert (told["dagster/row_count"], told["written"]) == (1, 1)


def test_a_run_that_was_taken_for_dead_writes_nothing(road: Road) -> None:
    """Its successor, with a later lease, has written the partition meanwhile."""
    row = {"clip_id": "a", "shard": ONE, "n": 7, "status": "ok", "reason": None, "detail": None}
    road.meanwhile = lambda shard: road.lake.put({"judged": JUDGED.frame([row])}, shard, "successor", token=2**62)
    result = road.run()
    assert not result.success
    assert "written by a later run" in _failure(result, "judged")
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
    assert _failed_checks(road.run())
    assert [part["judged"]["clip_id"][0] for part in made[-1].read()] == ["try 1", "try 2"]
    road.row = {}
    assert road.run().success
    assert road.lake.store.list_tree("ledger") == []


# ---- several shards in one run


def test_several_shards_are_brought_up_to_date_in_one_run(three: Road) -> None:
    three.run(TWO)
    result = three.run(ONE, TWO, THREE, only=False)
    assert result.success
    assert three.calls[1:] == [ONE, THREE, *(f"after {shard}" for shard in (ONE, TWO, THREE))]
    told = _materialized(result, "judged")
    assert {shard: (each["computed"], each["dagster/row_count"]) for shard, each in told.items()} == {
        ONE: (True, 2),
        TWO: (False, 1),
        THREE: (True, 1),
    }


def test_a_failing_shard_costs_itself(three: Road) -> None:
    three.breaks = {TWO}
    result = three.run(ONE, TWO, THREE, only=False)
    assert three.calls == [ONE, TWO, THREE, f"after {ONE}", f"after {THREE}"]
    assert not result.success
    assert _failure(result, "after") == f"1 of 3 shards failed: {TWO}: judged: the disk is gone"
    assert _materialized(result, "judged")[TWO] == {"failed": "judged: the disk is gone"}
    assert three.materialized("after") == {ONE, THREE}
    assert {shard for table, shard in three.lake.stamps(["after"])} == {ONE, THREE}
    three.breaks, three.calls = set(), []
    assert three.run(ONE, TWO, THREE, only=False).success
    assert three.calls == [TWO, f"after {TWO}"]


def test_a_broken_contract_costs_its_shard_alone(three: Road) -> None:
    three.lose = {"c"}
    result = three.run(ONE, TWO, THREE, only=False)
    assert not result.success
    assert (
        _failure(result, "after")
        == f"1 of 3 shards failed: {TWO}: judged broke its check counts_add_up: 1 clips lost, the first c"
    )
    [evaluation] = [each for each in result.get_asset_check_evaluations() if not each.passed]
    assert (evaluation.check_name, evaluation.metadata["shards"].value) == ("counts_add_up", TWO)
    assert {shard for table, shard in three.lake.stamps(["judged"])} == {ONE, THREE}


def test_a_later_check_of_several_shards_costs_its_shard_alone(three: Road) -> None:
    three.judge = replace(JUDGE, later_checks={"enough": ENOUGH})
    three.options = {"findings": lambda shard, frames: {"enough": Finding(int(shard == TWO), shard)}}
    result = three.run(ONE, TWO, THREE, only=False)
    assert _failure(result, "after") == f"1 of 3 shards failed: {TWO}: judged broke its check enough: {TWO}"
    assert three.values(TWO) == [0]
    with pytest.raises(TableMissing):
        three.lake.read("after", TWO)


def test_a_run_of_one_asset_fails_for_its_failing_shard(three: Road) -> None:
    three.breaks = {ONE}
    result = three.run(ONE, TWO, THREE)
    assert not result.success
    assert _failure(result, "judged") == f"1 of 3 shards failed: {ONE}: judged: the disk is gone"
    assert three.materialized("judged") == {TWO, THREE}


def test_nothing_goes_on_where_every_shard_failed(three: Road) -> None:
    three.breaks = {ONE, TWO, THREE}
    result = three.run(ONE, TWO, THREE, only=False)
    assert "3 of 3 shards failed" in _failure(result, "judged")
    assert three.calls == [ONE, TWO, THREE]


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
    assert metadata["dagster/row_count"].value == 2
    assert metadata["clips_ok"].value == 2
    assert [record.data for record in metadata["outcomes"].records] == [{"status": "ok", "reason": "", "clips": 2}]
