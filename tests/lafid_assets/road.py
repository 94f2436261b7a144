"""Three steps on a lake of their own, through Dagster, and its events: what the tests of `step` and `step_run` walk on."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from lafid_assets.outcomes import Status
from lafid_assets.runs.run_failure import reported
from lafid_assets.schemas import POLICY_SETTINGS
from lafid_assets.schemas.columns import CLIP_ID, OUTCOME, SHARD
from lafid_assets.steps.contract import Column, TableSchema
from lafid_assets.steps.partitions import CLIP_SHARDS
from lafid_assets.steps.step import Step
from lafid_assets.steps.step_run import Work
from resources.lake.catalog import Catalog
from resources.lake.lake import Lake
from resources.store.file_store import FileStore

ONE, TWO, THREE = "shard-00000-aaaaaaaa", "shard-00001-bbbbbbbb", "shard-00002-cccccccc"
SOURCE = TableSchema("source", "What comes in.", ("clip_id",), (CLIP_ID, SHARD))
JUDGED = TableSchema("judged", "A row a clip.", ("clip_id",), (CLIP_ID, SHARD, Column("n", pl.Int64, "n", minimum=0), *OUTCOME))
SEEN = TableSchema("seen", "A row a sight.", ("clip_id", "n"), (CLIP_ID, SHARD, Column("n", pl.Int64, "n")))
SAID = TableSchema("said", "Every n there was.", ("n",), (Column("n", pl.Int64, "n"),), partitioned=False, appended=True)
AFTER = TableSchema("after", "What comes after.", ("clip_id",), (CLIP_ID, SHARD))
TOTAL = TableSchema("total", "The sum.", ("n",), (Column("n", pl.Int64, "n"),), partitioned=False)
SHOWN = TableSchema("shown", "A view.", ("clip_id",), (CLIP_ID, SHARD), view="SELECT clip_id, shard FROM source")
TABLES = (SOURCE, JUDGED, SEEN, SAID, AFTER, TOTAL, SHOWN, POLICY_SETTINGS)
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
        def judged(context: dg.AssetExecutionContext, config: JudgeConfig) -> Iterator[Any]:
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
            work = Work(compute, clips_in=clips_in, **self.options)
            yield from reported(context, "judged", partial(self.judge.materialize, context, config, self.lake, work))

        @dg.asset(**FOLLOW.arguments(deps=["judged"]))
        def after(context: dg.AssetExecutionContext, config: JudgeConfig) -> Iterator[Any]:
            def compute(shard: str) -> dict[str, pl.DataFrame]:
                self.calls.append(f"after {shard}")
                return {"after": self.lake.read("judged", shard, ["clip_id", "shard"])}

            clips_in = lambda shard: self.lake.read("judged", shard)["clip_id"]  # noqa: E731
            work = Work(compute, clips_in=clips_in)
            yield from reported(context, "after", partial(FOLLOW.materialize, context, config, self.lake, work))

        @dg.asset(**ADD.arguments(deps=["judged"]))
        def total(context: dg.AssetExecutionContext, config: JudgeConfig) -> dg.MaterializeResult:
            def compute(_: str) -> dict[str, pl.DataFrame]:
                self.calls.append("total")
                return {"total": TOTAL.frame([{"n": int(self.lake.read("judged")["n"].sum())}])}

            return ADD.materialize(context, config, self.lake, Work(compute))

        return [judged, after, total]


def computed(result: dg.ExecuteInProcessResult) -> bool:
    assert result.success
    [event] = result.get_asset_materialization_events()
    return bool(event.materialization.metadata["computed"].value)


def failed_checks(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    assert not result.success
    return {e.check_name: e.metadata["first"].value for e in result.get_asset_check_evaluations() if not e.passed}


def materialized(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Mapping[str, Any]]:
    """Shard to metadata."""
    events = [event.materialization for event in result.get_asset_materialization_events()]
    return {
        str(event.partition): {name: value.value for name, value in event.metadata.items()}
        for event in events
        if event.asset_key.to_user_string() == asset
    }


def failure(result: dg.ExecuteInProcessResult, asset: str) -> str:
    [told] = [event.step_failure_data for event in result.all_events if event.is_step_failure and event.step_key == asset]
    return str(told.user_failure_data.description)


def lake_of_road(home: Path) -> Lake:
    store = FileStore(str(home / "store"))
    return Lake(store, Catalog.of(store, None), home, TABLES)
