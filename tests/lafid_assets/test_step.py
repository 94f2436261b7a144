"""The shape of every step, through Dagster: computed when something changed and only then, blocked when a contract breaks."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import dagster as dg
import polars as pl
import pytest

from lafid_assets import step as step_module
from lafid_assets.contract import Column, TableSchema
from lafid_assets.outcomes import Reason, Status
from lafid_assets.partitions import CLIP_SHARDS
from lafid_assets.schemas.columns import CLIP_ID, OUTCOME, SHARD
from lafid_assets.step import Step
from resources.shard_store import ShardStore
from resources.warehouse import Warehouse

SHARD_NAME = "shard-00000"
SOURCE = TableSchema("source", "What comes in.", ("clip_id",), (CLIP_ID, SHARD))
JUDGED = TableSchema("judged", "A row a clip.", ("clip_id",), (CLIP_ID, SHARD, Column("n", pl.Int64, "n", minimum=0), *OUTCOME))
SEEN = TableSchema("seen", "A row a sight.", ("clip_id", "n"), (CLIP_ID, SHARD, Column("n", pl.Int64, "n")))
TOTAL = TableSchema("total", "The sum.", ("n",), (Column("n", pl.Int64, "n"),), partitioned=False)
JUDGE = Step(writes=(JUDGED, SEEN), reads=("source",), group="test", code_version="1")
ADD = Step(writes=(TOTAL,), reads=("judged",), group="test", code_version="1")


class JudgeConfig(dg.Config):
    """What the test changes."""

    n: int = 0


class Road:
    """Two steps on a store: `judged` (with `seen`) a shard, and `total` over all of them; counts what is computed."""

    def __init__(self, store: ShardStore, warehouse: Warehouse) -> None:
        self.store, self.warehouse = store, warehouse
        self.calls: list[str] = []
        self.judge, self.row = JUDGE, {}
        self.lose: set[str] = set()
        self.outside: Any = None
        self.intact: Callable[..., bool] | None = None
        self.instance = dg.DagsterInstance.ephemeral()

    def put_source(self, *clips: str, shard: str = SHARD_NAME, fingerprint: str = "f") -> None:
        frame = SOURCE.frame({"clip_id": clip, "shard": shard} for clip in clips)
        self.store.write_group({"source": frame}, shard, fingerprint)
        self.instance.add_dynamic_partitions(CLIP_SHARDS.name, [shard])

    def run(self, *, n: int = 0, shard: str = SHARD_NAME) -> dg.ExecuteInProcessResult:
        assets = self._assets()
        return dg.materialize(
            assets[:1],
            instance=self.instance,
            partition_key=shard,
            run_config={"ops": {"judged": {"config": {"n": n}}}},
            raise_on_error=False,
        )

    def run_total(self) -> dg.ExecuteInProcessResult:
        return dg.materialize(self._assets()[1:], instance=self.instance, raise_on_error=False)

    def _assets(self) -> list[dg.AssetsDefinition]:
        @dg.asset(**self.judge.arguments(deps=[]))
        def judged(context: dg.AssetExecutionContext, config: JudgeConfig) -> dg.MaterializeResult:
            source = self.store.read_table("source", context.partition_key)

            def compute() -> dict[str, pl.DataFrame]:
                self.calls.append(context.partition_key)
                kept = [row for row in source.to_dicts() if row["clip_id"] not in self.lose]
                good = {"n": config.n, "status": Status.OK, "reason": None, "detail": None} | self.row
                return {
                    "judged": JUDGED.frame(row | good for row in kept),
                    "seen": SEEN.frame(row | {"n": config.n} for row in kept),
                }

            return self.judge.materialize(
                context,
                config,
                self.store,
                self.warehouse,
                compute,
                clips_in=source["clip_id"],
                outside=self.outside,
                intact=self.intact,
            )

        @dg.asset(**ADD.arguments(deps=["judged"]))
        def total(context: dg.AssetExecutionContext, config: JudgeConfig) -> dg.MaterializeResult:
            def compute() -> dict[str, pl.DataFrame]:
                self.calls.append("total")
                return {"total": TOTAL.frame([{"n": int(self.store.read_all("judged")["n"].sum())}])}

            return ADD.materialize(context, config, self.store, self.warehouse, compute)

        return [judged, total]


@pytest.fixture
def road(store: ShardStore, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Road:
    monkeypatch.setattr(step_module, "BY_NAME", {table.name: table for table in (SOURCE, JUDGED, SEEN, TOTAL)})
    road = Road(store, warehouse)
    road.put_source("a", "b")
    return road


def _computed(result: dg.ExecuteInProcessResult) -> bool:
    assert result.success
    [event] = result.get_asset_materialization_events()
    return bool(event.materialization.metadata["computed"].value)


def _failed_checks(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    assert not result.success
    return {e.check_name: e.metadata["first"].value for e in result.get_asset_check_evaluations() if not e.passed}


def test_a_step_is_computed_once(road: Road) -> None:
    assert _computed(road.run())
    assert not _computed(road.run())
    assert road.calls == [SHARD_NAME]
    assert road.store.read_table("judged", SHARD_NAME)["clip_id"].to_list() == ["a", "b"]
    with road.warehouse.read() as connection:
        assert connection.execute("SELECT count(*) FROM judged").fetchall() == [(2,)]
        assert connection.execute("SELECT count(*) FROM seen").fetchall() == [(2,)]


def test_a_lost_warehouse_is_filled_without_computing(road: Road) -> None:
    road.run()
    road.warehouse.path.unlink()
    road.warehouse.work_path.unlink()
    assert not _computed(road.run())
    with road.warehouse.read() as connection:
        assert connection.execute("SELECT count(*) FROM judged").fetchall() == [(2,)]


def test_changed_config_computes_again(road: Road) -> None:
    road.run()
    assert _computed(road.run(n=1))
    assert road.store.read_table("judged", SHARD_NAME)["n"].to_list() == [1, 1]


def test_changed_code_version_computes_again(road: Road) -> None:
    road.run()
    road.judge = replace(JUDGE, code_version="2")
    assert _computed(road.run())


def test_changed_facts_outside_compute_again(road: Road) -> None:
    road.run()
    road.outside = {"weights": "new"}
    assert _computed(road.run())
    assert not _computed(road.run())


def test_changed_upstream_content_computes_again(road: Road) -> None:
    road.run()
    road.put_source("a", "b", "c")
    assert _computed(road.run())
    assert road.store.read_table("judged", SHARD_NAME).height == 3


def test_upstream_rewritten_with_equal_content_computes_nothing(road: Road) -> None:
    road.run()
    road.put_source("b", "a", fingerprint="another")
    assert not _computed(road.run())


def test_lost_companion_table_computes_again(road: Road) -> None:
    road.run()
    road.store.local_path(f"tables/seen/{SHARD_NAME}.parquet").unlink()
    assert _computed(road.run())


def test_lost_files_that_rows_point_to_compute_again(road: Road) -> None:
    road.run()
    seen = []
    road.intact = lambda frames: seen.append(sorted(frames)) or False
    assert _computed(road.run())
    assert seen == [["judged", "seen"]]
    road.intact = lambda frames: True
    assert not _computed(road.run())


def test_other_shards_do_not_matter_to_a_shard_but_all_matter_to_a_total(road: Road) -> None:
    road.run(n=1)
    assert _computed(road.run_total())
    road.put_source("c", shard="shard-00001")
    assert not _computed(road.run(n=1))
    assert not _computed(road.run_total())
    assert _computed(road.run(n=5, shard="shard-00001"))
    assert _computed(road.run_total())
    assert road.store.read_table("total")["n"].to_list() == [7]


@pytest.mark.parametrize(
    ("row", "check", "message"),
    [
        ({"n": -1}, "values", "judged: n: below 0"),
        ({"clip_id": "same"}, "unique_key", "judged: 1 values of (clip_id) occur more than once"),
        ({"status": "rejected"}, "values", "judged: status rejected with reason None"),
        ({"reason": Reason.NO_FACE}, "values", "judged: status ok with reason no_face"),
    ],
)
def test_broken_contract_fails_the_run_and_writes_nothing(road: Road, row: dict[str, Any], check: str, message: str) -> None:
    road.row = row
    assert message in _failed_checks(road.run())[check]
    assert road.store.partitions("judged") == road.store.partitions("seen") == []
    assert not road.warehouse.path.exists()


def test_broken_contract_keeps_what_was_there(road: Road) -> None:
    road.run()
    road.row = {"n": -1}
    assert _failed_checks(road.run(n=3))
    assert road.store.read_table("judged", SHARD_NAME)["n"].to_list() == [0, 0]


def test_lost_clip_breaks_the_count(road: Road) -> None:
    road.lose = {"b"}
    assert _failed_checks(road.run()) == {"counts_add_up": "1 clips lost, the first b"}
    assert road.store.partitions("judged") == []


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


def test_broken_contract_stops_what_comes_after(store: ShardStore, warehouse: Warehouse) -> None:
    step = Step(writes=(TOTAL,), reads=(), group="test", code_version="1")
    after = Step(writes=(replace(TOTAL, name="after"),), reads=("total",), group="test", code_version="1")
    ran = []

    @dg.asset(**step.arguments(deps=[]))
    def total(context: dg.AssetExecutionContext, config: JudgeConfig) -> dg.MaterializeResult:
        twice = {"total": TOTAL.frame([{"n": 1}, {"n": 1}])}
        return step.materialize(context, config, store, warehouse, lambda: twice)

    @dg.asset(name="after", deps=["total"])
    def later() -> None:
        ran.append("after")

    assert after.table.name == "after"
    result = dg.materialize([total, later], instance=dg.DagsterInstance.ephemeral(), raise_on_error=False)
    assert not result.success
    assert ran == []


def test_asset_tells_dagster_its_contract() -> None:
    arguments = JUDGE.arguments(deps=["source"], pool="gpu")
    assert arguments["name"] == "judged"
    assert arguments["partitions_def"] is CLIP_SHARDS
    assert [c.name for c in arguments["metadata"]["dagster/column_schema"].columns] == list(JUDGED.dtypes)
    assert {spec.name for spec in arguments["check_specs"]} == {"schema", "unique_key", "values", "counts_add_up"}
    assert all(spec.blocking and spec.description for spec in arguments["check_specs"])
    assert ADD.arguments(deps=[])["partitions_def"] is None
    assert "counts_add_up" not in {spec.name for spec in ADD.arguments(deps=[])["check_specs"]}


def test_run_shows_rows_and_outcomes(road: Road) -> None:
    [event] = road.run().get_asset_materialization_events()
    metadata = event.materialization.metadata
    assert metadata["dagster/row_count"].value == 2
    assert metadata["clips_ok"].value == 2
    assert [record.data for record in metadata["outcomes"].records] == [{"status": "ok", "reason": "", "clips": 2}]
