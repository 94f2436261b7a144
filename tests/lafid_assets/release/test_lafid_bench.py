"""The asset: its rows, its folder, what is done again and what is not."""

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from lafid_assets.release import lafid_bench as asset_module
from lafid_assets.release.bench_folder import copy_bench, current_bench, is_whole, stored_bench
from lafid_assets.release.lafid_bench import NOBODY_TO_TEST, lafid_bench
from lafid_assets.schemas import FACE_INFO, LAFID_BENCH, LAFID_DATASET
from model.evaluation.bench import BENCH_FILE, BenchError, verify_bench
from resources.lake.lake import Lake
from resources.settings import Settings
from resources.store.file_store import FileStore
from tests.lafid_assets.release.painted import SHARD, PaintedClip, PaintedWorld

Run = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def lay(lake: Lake, painted: Callable[..., PaintedWorld], lay_clips: Callable[..., None]) -> Callable[..., PaintedWorld]:
    """Paints clips and lays them into the lake in place of what was there."""

    def make(*clips: PaintedClip) -> PaintedWorld:
        world = painted(*clips)
        lay_clips(lake, world.raw_clips, SHARD)
        lake.put({FACE_INFO.name: world.faces}, SHARD)
        lake.put({LAFID_DATASET.name: world.dataset})
        return world

    return make


@pytest.fixture
def run(lake: Lake, store: FileStore) -> Run:
    def materialize(**config: object) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            [lafid_bench],
            resources={"settings": Settings(home=lake.home, store_uri=lake.store.uri), "lake": lake, "store": store},
            run_config={"ops": {"lafid_bench": {"config": config}}},
        )

    return materialize


def _told(result: dg.ExecuteInProcessResult) -> dict[str, object]:
    [event] = result.get_asset_materialization_events()
    return {name: value.value for name, value in event.materialization.metadata.items()}


def _version(lake: Lake) -> str:
    with lake.snapshot() as reader:
        found = current_bench(reader)
    assert found is not None
    assert found.path == f"benches/{found.version}"
    return found.version


def test_the_bench_lies_in_the_store_and_can_be_taken_elsewhere(
    lake: Lake, store: FileStore, lay: Callable[..., PaintedWorld], run: Run, tmp_path: Path
) -> None:
    lay(PaintedClip("a", 0), PaintedClip("b", 1, yaws=(0.0, 50.0)), PaintedClip("t", 2, split="train"))
    told = _told(run(name="small"))
    rows, version = lake.read(LAFID_BENCH.name), _version(lake)
    assert rows.select("clip_id", "status", "begins", "yaw_bin").rows() == [
        ("a", "ok", "window", "yaw_20_40"),
        ("b", "ok", "window", "yaw_40_60"),
    ]
    assert (told["cases"], told["persons"], told["strangers"], told["clips_ok"]) == (2, 2, 1, 2)
    assert told["cases_yaw_bin"] == {"yaw_20_40": 1, "yaw_40_60": 1}
    assert told["bench"] == f"small {version}"
    bench = copy_bench(store, version, tmp_path / "copy")
    assert verify_bench(tmp_path / "copy") == bench
    with pytest.raises(BenchError, match="is there already"):
        copy_bench(store, version, tmp_path / "copy")


def test_what_is_current_is_not_made_again_and_what_was_lost_comes_back_the_same(
    lake: Lake, store: FileStore, lay: Callable[..., PaintedWorld], run: Run
) -> None:
    lay(PaintedClip("a", 0), PaintedClip("b", 1))
    run()
    version = _version(lake)
    written = store.ages("benches")
    assert _told(run())["computed"] is False
    picture = stored_bench(store, version).pictures[0]
    store.remove(f"benches/{version}/{picture}")
    assert not is_whole(store, version)
    assert _told(run())["computed"] is True
    assert _version(lake) == version
    assert is_whole(store, version)
    assert set(store.ages("benches")) == set(written)
    store.remove(f"benches/{version}/{BENCH_FILE}")
    assert _told(run())["computed"] is True
    assert is_whole(store, version)


def test_another_config_is_another_bench(lake: Lake, store: FileStore, lay: Callable[..., PaintedWorld], run: Run) -> None:
    lay(*(PaintedClip(f"c{n}", n) for n in range(3)))
    versions = []
    for config in ({}, {"cases": 2}, {"seed": 1}, {"name": "other"}):
        run(**config)
        versions.append(_version(lake))
    assert len(set(versions)) == 4
    assert all(is_whole(store, version) for version in versions), "earlier benches stay"
    assert lake.read(LAFID_BENCH.name).height == 3


def test_a_clip_whose_file_is_back_is_looked_at_again(lake: Lake, lay: Callable[..., PaintedWorld], run: Run) -> None:
    world = lay(PaintedClip("a", 0), PaintedClip("b", 1))
    (world.footage / "a").rename(world.footage / "away")
    run()
    row = lake.read(LAFID_BENCH.name).row(0, named=True)
    assert (row["clip_id"], row["status"], row["reason"]) == ("a", "error", "unreadable")
    assert "has disappeared: put it back" in row["detail"]
    (world.footage / "away").rename(world.footage / "a")
    assert _told(run())["clips_ok"] == 2


def test_a_dataset_without_test_split_has_no_bench_and_says_why(lake: Lake, lay: Callable[..., PaintedWorld], run: Run) -> None:
    lay(PaintedClip("t", 0, split="train"))
    told = _told(run())
    assert (told["bench"], told["why_none"]) == ("none", NOBODY_TO_TEST)
    assert lake.read(LAFID_BENCH.name).is_empty()
    with lake.snapshot() as reader:
        assert current_bench(reader) is None


def test_where_no_clip_gives_a_case_the_rows_say_so(lake: Lake, lay: Callable[..., PaintedWorld], run: Run) -> None:
    lay(PaintedClip("a", 0, yaws=(80.0, 75.0), references=()))
    assert _told(run())["why_none"] == "no clip of the test split gave a case"
    rows = lake.read(LAFID_BENCH.name)
    assert rows.select("status", "reason", "bench_version").rows() == [("rejected", "pose_unknown", None)]


def test_most_test_clips_name_the_engine(
    lake: Lake, lay: Callable[..., PaintedWorld], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = lay(PaintedClip("a", 0), PaintedClip("b", 1), PaintedClip("c", 1), PaintedClip("t", 2, split="train"))
    engine = pl.when(pl.col("clip_id").is_in(["a", "t"])).then(pl.lit("other")).otherwise(pl.lit("painted"))
    lake.put({LAFID_DATASET.name: world.dataset.with_columns(engine=engine)})
    asked: list[str] = []
    monkeypatch.setattr(asset_module, "engine_choice", asked.append)
    run()
    assert asked == ["painted"]
