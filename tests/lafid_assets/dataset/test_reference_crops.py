"""`reference_crops` through Dagster: kept clips only, current while the pictures lie there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from lafid_assets.dataset.reference_crops import reference_crops
from lafid_assets.definitions import build_resources
from lafid_assets.ingest.media_probe import content_sha256
from lafid_assets.partitions import CLIP_SHARDS
from model.model_store.install import install
from model.model_store.registry import Kind
from resources.face_engine import model_store
from resources.settings import Settings
from resources.shard_store import ShardStore

SHARD = "shard-00000"


@pytest.fixture
def materialize(
    settings: Settings,
    store: ShardStore,
    curated: Callable[..., dict[str, pl.DataFrame]],
    tmp_path: Path,
    write_video: Callable[..., Path],
) -> Callable[[], dict[str, Any]]:
    """Of the clips `a` (kept) and `b` (rejected); gives the metadata."""
    tables = curated({"a": "p", "b": None}, str(tmp_path))
    contents = {clip: content_sha256(write_video(tmp_path / clip)) for clip in "ab"}
    tables["raw_clips"] = tables["raw_clips"].with_columns(content_sha256=pl.col("clip_id").replace(contents))
    sides = {"box_x1": 20.0, "box_y1": 10.0, "box_x2": 40.0, "box_y2": 30.0}
    tables["face_info"] = tables["face_info"].with_columns(pl.lit(value, pl.Float32).alias(name) for name, value in sides.items())
    for name in ("raw_clips", "face_info", "speech_tagged_clips"):
        store.write_group({name: tables[name]}, SHARD, "f")
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions(str(CLIP_SHARDS.name), [SHARD])

    def run() -> dict[str, Any]:
        resources = build_resources(settings)
        result = dg.materialize([reference_crops], instance=instance, partition_key=SHARD, resources=resources)
        [event] = result.get_asset_materialization_events()
        return {name: value.value for name, value in event.materialization.metadata.items()}

    return run


def test_kept_clips_get_their_pictures_once(materialize: Callable[[], dict[str, Any]], store: ShardStore) -> None:
    first = materialize()
    assert (first["computed"], first["clips"], first["clips_without_pictures"]) == (True, 1, 0)
    crops = store.read_table("reference_crops", SHARD)
    assert crops.select("clip_id", "yaw_deg").rows() == [("a", 0.0), ("a", -20.0), ("a", 20.0)]
    assert all(store.exists(path) for path in (*crops["face_path"], *crops["head_path"]))
    assert not materialize()["computed"]
    store.remove(crops["face_path"][1])
    assert materialize()["computed"]
    assert store.exists(crops["face_path"][1])


def test_a_mask_that_comes_into_the_store_cuts_anew_and_looks_for_no_face(
    materialize: Callable[[], dict[str, Any]],
    store: ShardStore,
    settings: Settings,
    tmp_path: Path,
    write_network: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LAFID_HOME", str(settings.home))
    first = materialize()
    assert first["mask"] == "oval (auto: the model store holds no matting network (modnet))"
    looked = list(store.digests("face_info", SHARD))
    before = store.read_table("reference_crops", SHARD)
    install(model_store(), "modnet", [write_network(tmp_path / "mine.onnx", Kind.MATTING, 0.5)])
    second = materialize()
    assert second["computed"]
    assert second["mask"].startswith("modnet ")
    crops = store.read_table("reference_crops", SHARD)
    assert set(crops["mask"]) == {"modnet"}
    assert not set(crops["head_path"]) & set(before["head_path"])
    assert list(store.digests("face_info", SHARD)) == looked
    assert not materialize()["computed"]


def test_clip_that_comes_back_gets_its_pictures(
    materialize: Callable[[], dict[str, Any]], store: ShardStore, tmp_path: Path
) -> None:
    (tmp_path / "a").rename(tmp_path / "away")
    gone = materialize()
    assert (gone["clips_without_pictures"], gone["clips_error"]) == (1, 3)
    assert store.read_table("reference_crops", SHARD)["detail"].unique().to_list() == ["a has disappeared: put it back"]
    (tmp_path / "away").rename(tmp_path / "a")
    assert materialize()["clips_without_pictures"] == 0
