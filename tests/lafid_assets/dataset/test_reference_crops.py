"""`reference_crops` through Dagster: kept clips only, current while the pictures lie there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from lafid_assets.dataset.reference_crops import ReferenceCropsConfig, reference_crops
from lafid_assets.dataset.references import SPREADS
from lafid_assets.ingest.media_probe import content_sha256
from lafid_assets.steps.partitions import CLIP_SHARDS
from model.model_store.install import install
from model.model_store.registry import Kind
from resources.face_engine import model_store
from resources.lake.lake import Lake
from resources.settings import Settings
from resources.store.file_store import FileStore

SHARD = "shard-00000"


@pytest.fixture
def materialize(
    lake: Lake,
    store: FileStore,
    curated: Callable[..., dict[str, pl.DataFrame]],
    lay: Callable[[dict[str, pl.DataFrame]], None],
    tmp_path: Path,
    write_video: Callable[..., Path],
) -> Callable[[], dict[str, Any]]:
    """Of the clips `a` (kept) and `b` (rejected); gives the metadata."""
    tables = curated({"a": "p", "b": None}, str(tmp_path))
    del tables["reference_crops"]
    contents = {clip: content_sha256(write_video(tmp_path / clip)) for clip in "ab"}
    for name in ("clips", "clip_contents"):
        tables[name] = tables[name].with_columns(content_sha256=pl.col("clip_id").replace(contents))
    for name in ("clip_files", "clip_contents"):
        state = [(tmp_path / clip).stat() for clip in tables[name]["path"]]
        sizes = pl.Series([file.st_size for file in state]), pl.Series([file.st_mtime_ns for file in state])
        tables[name] = tables[name].with_columns(size_bytes=sizes[0], mtime_ns=sizes[1])
    sides = {"box_x1": 20.0, "box_y1": 10.0, "box_x2": 40.0, "box_y2": 30.0}
    tables["face_info"] = tables["face_info"].with_columns(pl.lit(value, pl.Float32).alias(name) for name, value in sides.items())
    lay(tables)
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions(str(CLIP_SHARDS.name), [SHARD])

    def run() -> dict[str, Any]:
        resources = {"settings": Settings(home=lake.home, store_uri=lake.store.uri), "lake": lake, "store": store}
        result = dg.materialize([reference_crops], instance=instance, partition_key=SHARD, resources=resources)
        [event] = result.get_asset_materialization_events()
        return {name: value.value for name, value in event.materialization.metadata.items()}

    return run


def test_kept_clips_get_their_pictures_once(materialize: Callable[[], dict[str, Any]], lake: Lake, store: FileStore) -> None:
    first = materialize()
    assert (first["computed"], first["clips"], first["clips_without_pictures"]) == (True, 1, 0)
    crops = lake.read("reference_crops", SHARD)
    assert crops.select("clip_id", "yaw_deg").rows() == [("a", 0.0), ("a", -20.0), ("a", 20.0)]
    assert all(store.exists(path) for path in (*crops["face_path"], *crops["head_path"]))
    assert not materialize()["computed"]
    store.remove(crops["face_path"][1])
    assert materialize()["computed"]
    assert store.exists(crops["face_path"][1])


def test_a_mask_that_comes_into_the_store_cuts_anew_and_looks_for_no_face(
    materialize: Callable[[], dict[str, Any]],
    lake: Lake,
    settings: Settings,
    tmp_path: Path,
    write_network: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LAFID_HOME", str(settings.home))
    first = materialize()
    assert first["mask"] == "oval (auto: the model store holds no matting network (modnet))"
    looked = lake.stamps(["face_info"])
    before = lake.read("reference_crops", SHARD)
    install(model_store(), "modnet", [write_network(tmp_path / "mine.onnx", Kind.MATTING, 0.5)])
    second = materialize()
    assert second["computed"]
    assert second["mask"].startswith("modnet ")
    crops = lake.read("reference_crops", SHARD)
    assert set(crops["mask"]) == {"modnet"}
    assert not set(crops["head_path"]) & set(before["head_path"])
    assert lake.stamps(["face_info"]) == looked
    assert not materialize()["computed"]


def test_clip_that_comes_back_gets_its_pictures(materialize: Callable[[], dict[str, Any]], lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "a").rename(tmp_path / "away")
    assert materialize()["clips_without_pictures"] == 1
    lost = lake.read("reference_crops", SHARD).select("status", "detail")
    assert lost.rows() == [("error", "its file has disappeared: put it back")] * 3
    (tmp_path / "away").rename(tmp_path / "a")
    assert materialize()["clips_without_pictures"] == 0


def test_clip_whose_folder_is_away_keeps_its_pictures(
    materialize: Callable[[], dict[str, Any]], lake: Lake, tmp_path: Path
) -> None:
    materialize()
    crops = lake.read("reference_crops", SHARD)
    (tmp_path / "a").unlink()
    assert not materialize()["computed"]
    lake.commit(lambda reader: reader.cursor.execute("UPDATE partitions SET fingerprint = 'other'"))
    again = materialize()
    assert (again["computed"], again["clips_without_pictures"]) == (True, 0)
    assert lake.read("reference_crops", SHARD).equals(crops)


def test_another_spread_cuts_anew_and_an_unknown_one_is_refused() -> None:
    prints = [ReferenceCropsConfig(spread=spread).facts() for spread in SPREADS]
    assert all(prints.count(facts) == 1 for facts in prints)
    with pytest.raises(ValueError, match="not spread over 'age': choose one of both, pose, expression"):
        ReferenceCropsConfig(spread="age")
