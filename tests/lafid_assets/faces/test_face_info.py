"""`face_info` end to end: real engine, real children, clips that bring their child down."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from PIL import Image

from lafid_assets.faces import face_info as module
from lafid_assets.faces import shard_analysis
from lafid_assets.faces.clip_analysis import AnalysedClip, AnalysisSettings, ClipTask, analyse_clip
from lafid_assets.faces.clip_record import Engine
from lafid_assets.faces.face_info import FaceInfoConfig, face_info
from lafid_assets.faces.shard_analysis import TABLES, ShardRecipe, analyse_shard
from lafid_assets.faces.shard_limits import ShardLimits
from lafid_assets.outcomes import Status
from lafid_assets.schemas import RAW_CLIPS
from lafid_assets.steps.partitions import CLIP_SHARDS
from lafid_assets.steps.staleness import stale_shards
from lafid_assets.workers.pool import Crashed, Done, Ending, Failed
from resources.face_engine import face_engine_info
from resources.lake.lake import Lake
from resources.leases.leases import Lease
from resources.settings import Settings
from resources.store.file_store import FileStore
from resources.store.ledger import Ledger

SHARD = "shard-00000"
CONFIG = {"engine": "dlib", "rate_hz": 10.0, "max_frames": 3, "scan": False}


def analyse_or_crash(task: ClipTask) -> AnalysedClip:
    if task.clip_id == "b-crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if task.clip_id == "d-raise":
        raise RuntimeError("an engine's own fault")
    return analyse_clip(task)


def without_children(
    work: object, tasks: Sequence[ClipTask], *_: object, **__: object
) -> Iterator[tuple[int, Ending[AnalysedClip]]]:
    """`map_footage` for tests that need endings and no pixels."""
    endings = {"b-crash": Crashed(-11), "d-raise": Failed("an engine's own fault")}
    for index, task in enumerate(tasks):
        yield index, endings.get(task.clip_id) or Done(AnalysedClip(Status.OK, None, None, "survey", None, False, 3))


@pytest.fixture
def raw_clips(
    tmp_path: Path, portrait: NDArray[np.uint8], write_video: Callable[..., Path], row_of: Callable[..., dict[str, Any]]
) -> pl.DataFrame:
    names = ("a-good", "b-crash", "c-good", "d-raise")
    for shift, name in enumerate(names):
        face = np.asarray(Image.fromarray(portrait[:320, 64 + shift : 384 + shift]).resize((160, 160)), np.uint8)
        write_video(tmp_path / name, pictures=np.stack([face] * 4))
    passed = {"shard": SHARD, "clip_root": str(tmp_path), "duration_s": 0.4, "status": "ok"}
    rows = [row_of(RAW_CLIPS, clip_id=name, path=name, content_sha256=name, **passed) for name in names]
    gone = {"path": "e-missing", "clip_root": str(tmp_path)}
    missing = row_of(RAW_CLIPS, clip_id="e-missing", shard=SHARD, status="skipped", reason="file_missing", **gone)
    return RAW_CLIPS.frame([*rows, missing])


@pytest.fixture
def materialize(
    raw_clips: pl.DataFrame, lake: Lake, store: FileStore, lay_clips: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dg.ExecuteInProcessResult]:
    monkeypatch.setattr(shard_analysis, "analyse_clip", analyse_or_crash)
    lay_clips(lake, raw_clips, SHARD)
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions(CLIP_SHARDS.name, [SHARD])

    def run(**config: Any) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            [face_info],
            instance=instance,
            resources={"settings": Settings(home=lake.home, store_uri=lake.store.uri), "lake": lake, "store": store},
            partition_key=SHARD,
            run_config={"ops": {"face_info": {"config": CONFIG | config}}},
            raise_on_error=False,
        )

    return run


def _computed(result: dg.ExecuteInProcessResult) -> bool:
    [event] = result.get_asset_materialization_events()
    assert event.materialization.metadata["engine_licence"].value
    return bool(event.materialization.metadata["computed"].value)


def _endings(lake: Lake) -> dict[str, tuple[Any, ...]]:
    columns = ("clip_id", "status", "reason", "attempts")
    return {name: tuple(rest) for name, *rest in lake.read("face_clips", SHARD, columns).iter_rows()}


def test_asset_writes_its_tables_and_a_bad_clip_costs_only_itself(
    materialize: Callable[..., dg.ExecuteInProcessResult], lake: Lake, store: FileStore
) -> None:
    result = materialize(limits={"workers": 1})  # every child loads the engine
    assert result.success
    assert _computed(result)
    assert _endings(lake) == {
        "a-good": ("ok", None, 1),
        "b-crash": ("error", "crashed", 1),
        "c-good": ("ok", None, 1),
        "d-raise": ("error", "engine_failed", 1),
        "e-missing": ("skipped", "upstream", 0),
    }
    frames = {table.name: lake.read(table.name, SHARD) for table in TABLES}
    details = dict(frames["face_clips"].select("clip_id", "detail").iter_rows())
    assert "exit code -11" in details["b-crash"]
    assert "an engine's own fault" in details["d-raise"]
    asked = frames["face_clips"].select("clip_id", "tier", "frames_asked", "frames_decoded", "frames_with_face", "faces")
    assert asked.row(0) == ("a-good", "survey", 3, 3, 3, 3)
    assert asked.row(4) == ("e-missing", None, None, None, None, None)
    for table in ("face_info", "face_frames"):
        assert frames[table]["clip_id"].to_list() == ["a-good"] * 3 + ["c-good"] * 3
        assert frames[table]["engine_reason"].unique().to_list() == ["asked for"]
    widths = frames["face_embeddings"].group_by("clip_id").agg(pl.col("embedding").list.len().unique()).sort("clip_id")
    assert widths.rows() == [("a-good", [128]), ("c-good", [128])]
    assert lake.read("faces", SHARD, ["embedding"])["embedding"].null_count() == 0
    assert store.list_tree("ledger") == []


def test_materializing_again_tries_failed_clips_until_they_are_quarantined(
    materialize: Callable[..., dg.ExecuteInProcessResult], lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_analysis, "map_footage", without_children)
    computed, endings = [], []
    for _ in range(4):
        computed.append(_computed(materialize()))
        endings.append(_endings(lake)["b-crash"])
    assert computed == [True, True, True, False]
    assert endings == [("error", "crashed", 1), ("error", "crashed", 2), *[("skipped", "quarantined", 3)] * 2]
    assert _endings(lake)["a-good"] == ("ok", None, 1)


def test_shard_over_its_error_budget_fails_with_its_tables_written(
    materialize: Callable[..., dg.ExecuteInProcessResult], lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_analysis, "map_footage", without_children)
    result = materialize(limits={"errors_always_allowed": 1})
    [broken] = [check for check in result.get_asset_check_evaluations() if not check.passed]
    assert not result.success
    assert broken.check_name == "error_budget"
    assert str(broken.metadata["first"].value).startswith("2 of 4 clips failed (crashed 1, engine_failed 1), more than")
    assert len(_endings(lake)) == 5
    chain = [(module.STEP, FaceInfoConfig(**CONFIG, limits={"errors_always_allowed": 1}))]
    with lake.snapshot() as reader:  # nor does anybody call it current
        assert stale_shards(reader, chain, [SHARD]) == {SHARD: "face_info"}


def test_tables_that_break_their_contract_are_not_written_and_the_ledger_is_kept(
    materialize: Callable[..., dg.ExecuteInProcessResult], lake: Lake, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose_a_clip(*arguments: Any) -> dict[str, pl.DataFrame]:
        frames = dict(analyse_shard(*arguments))
        return frames | {"face_clips": frames["face_clips"].filter(pl.col("clip_id") != "c-good")}

    monkeypatch.setattr(shard_analysis, "map_footage", without_children)
    monkeypatch.setattr(module, "analyse_shard", lose_a_clip)
    result = materialize()
    assert not result.success
    assert [check.check_name for check in result.get_asset_check_evaluations() if not check.passed] == ["counts_add_up"]
    assert lake.stamps(["face_clips"]) == {}
    assert any(path.endswith("face_clips.parquet") for path in store.list_tree(f"ledger/face_info/{SHARD}"))


def test_real_measures_are_bit_equal_over_order_and_worker_count(raw_clips: pl.DataFrame, tmp_path: Path) -> None:
    engine = Engine(face_engine_info("dlib"), "asked for")
    found = []
    for workers, seed in ((1, 0), (2, 1)):
        recipe = ShardRecipe(AnalysisSettings(**CONFIG), ShardLimits(workers=workers), engine)
        shuffled = raw_clips.sample(fraction=1.0, shuffle=True, seed=seed)
        ledger = Ledger(FileStore(str(tmp_path / str(workers))), "face_info", SHARD, recipe.prints.measures, Lease(SHARD, 1))
        reach = lambda clip_ids: {clip_id: tmp_path / clip_id for clip_id in clip_ids}  # noqa: E731
        found.append(analyse_shard(shuffled, recipe, ledger, reach))
    assert found[0]["face_info"].height == 12
    for table in TABLES:
        assert found[0][table.name].equals(found[1][table.name])


def test_no_other_run_can_enter_a_shard_that_is_being_computed(
    materialize: Callable[..., dg.ExecuteInProcessResult], lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered = threading.Event()

    def knock() -> None:
        with lake.leases.held(f"face_info/{SHARD}"):
            entered.set()

    def compute(work: object, tasks: Sequence[ClipTask], *_: object, **__: object) -> Iterator[tuple[int, Ending[AnalysedClip]]]:
        threading.Thread(target=knock, daemon=True).start()
        assert not entered.wait(1.0)
        return without_children(work, tasks)

    monkeypatch.setattr(shard_analysis, "map_footage", compute)
    assert materialize().success
    assert entered.wait(900)


def test_measured_rows_wait_while_the_folder_is_away_and_new_clips_name_it(
    materialize: Callable[..., dg.ExecuteInProcessResult], lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_analysis, "map_footage", without_children)
    for _ in range(3):
        materialize()
    before = lake.read("face_clips", SHARD)
    for name in ("a-good", "b-crash", "c-good", "d-raise"):
        (tmp_path / name).unlink()
    assert not _computed(materialize())  # nothing is left to measure
    result = materialize(rate_hz=5.0)  # all of it is
    assert not result.success
    [failure] = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    assert f"they were in {tmp_path}: mount it, or run `lafid curate`" in str(failure.cause)
    assert lake.read("face_clips", SHARD).equals(before)
