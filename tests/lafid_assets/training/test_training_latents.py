"""`training_latents` through Dagster: what it shows, when it computes, and whose eyes it uses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
import torch
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel

import model.presets
from lafid_assets.schemas import LAFID_DATASET, TRAINING_LATENTS
from lafid_assets.steps.partitions import CLIP_SHARDS
from lafid_assets.training.base import base_path
from lafid_assets.training.cached_clips import NotPrecomputed, read_cached, write_list
from lafid_assets.training.encoding import SHARDS_FOLDER
from lafid_assets.training.training_latents import training_latents
from model.bases.digests import INFO_FILE, recorded_digest
from model.clip_size import ClipSize
from model.clips.clip_set import ClipSet
from model.model_store.install import install
from model.model_store.store import ModelStore
from model.presets import EncoderConfig, preset
from resources.lake.lake import Lake
from resources.settings import Settings
from resources.store.file_store import FileStore

Run = Callable[..., dict[str, Any]]
SHARD, OTHER = "x", "y"


@pytest.fixture
def run(
    lake: Lake,
    store: FileStore,
    dataset: pl.DataFrame,
    face_tables: dict[str, pl.DataFrame],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Run:
    """Materializes the asset; its metadata. The preset `small` brings no semantic encoder, as those of Wan do."""
    tiny = preset("tiny").model_copy(update={"clip": ClipSize(frames=9, height=16, width=16)})
    small = tiny.model_copy(update={"encoders": EncoderConfig(semantic="folder")})
    monkeypatch.setattr(model.presets, "PRESETS", {"tiny": tiny, "small": small})
    monkeypatch.setenv("LAFID_MODELS", str(tmp_path / "models"))
    lake.put({LAFID_DATASET.name: dataset}, "all", "f")
    lake.put(face_tables, SHARD, "f")
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions(str(CLIP_SHARDS.name), [SHARD, OTHER])

    def go(shard: str = SHARD, **config: Any) -> dict[str, Any]:
        ops = {"ops": {"training_latents": {"config": config}}}
        resources = {"settings": Settings(home=lake.home, store_uri=lake.store.uri), "lake": lake, "store": store}
        result = dg.materialize([training_latents], instance=instance, resources=resources, run_config=ops, partition_key=shard)
        [event] = result.asset_materializations_for_node("training_latents")
        return {name: value.value for name, value in event.metadata.items()}

    return go


@pytest.fixture
def clip_folder(tmp_path: Path) -> Path:
    """A tiny random CLIP as save_pretrained writes it."""
    config = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4, image_size=32, patch_size=8
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        CLIPVisionModel(config).save_pretrained(tmp_path / "clip")
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(tmp_path / "clip")
    return tmp_path / "clip"


def test_every_clip_is_counted_and_what_is_there_is_not_computed_again(run: Run, lake: Lake, store: FileStore) -> None:
    first = run()
    assert first.items() >= {"clips of 9 x 16 x 16": 2, "clips skipped: too_short": 1, "computed": True, "files": 1}.items()
    assert (first["clips_ok"], first["clips_skipped"], first["dagster/partition_row_count"]) == (2, 1, 3)
    assert first["megabytes"] > 0
    assert first["clips_without_first_face"] == 2
    assert not run()["computed"]
    (file,) = store.here(SHARDS_FOLDER).rglob("*.safetensors")
    file.unlink()
    assert run()["computed"]
    info = store.local_path(base_path("tiny")) / INFO_FILE
    info.write_text(info.read_text().replace(recorded_digest(info.parent) or "", "0" * 64))
    with pytest.raises(dg.Failure, match="changed: recorded sha256 000"):  # it is computed, for another base was adopted
        run()
    assert run(OTHER).items() >= {"computed": True, "dagster/partition_row_count": 0}.items(), "no clip of it is in the dataset"


def test_a_clip_that_failed_is_tried_again(run: Run, tmp_path: Path) -> None:
    (tmp_path / "footage" / "b").rename(tmp_path / "hidden")
    assert run().items() >= {"clips error: unreadable": 1, "clips of 9 x 16 x 16": 1}.items()
    (tmp_path / "hidden").rename(tmp_path / "footage" / "b")
    assert run().items() >= {"clips of 9 x 16 x 16": 2, "computed": True}.items()


def test_a_preset_without_a_semantic_encoder_takes_a_folder_or_the_model_stores(
    run: Run, lake: Lake, store: FileStore, clip_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(dg.Failure, match="lafid models fetch clip_vit_h14"):
        run(preset="small")
    with pytest.raises(dg.Failure, match="preset tiny takes its base's own semantic encoder: leave semantic_encoder out"):
        run(semantic_encoder=str(clip_folder))
    run(preset="small", semantic_encoder=str(clip_folder))
    rows = lake.read("training_latents")
    assert set(rows["semantic_encoder"]) == {str(clip_folder)}
    with lake.snapshot() as reader:
        clips = ClipSet(write_list(read_cached(reader, model.presets.PRESETS["small"]), store))
    assert clips.batch([0]).face.semantic.shape == (1, 17, 32)
    install(ModelStore(tmp_path / "models"), "clip_vit_h14", [clip_folder])
    run(preset="small")
    again = lake.read("training_latents")
    assert set(again["semantic_encoder"]) == {"clip_vit_h14"}, "which another node has in another place"
    assert again["encoders_fingerprint"].equals(rows["encoders_fingerprint"]), "the same weights, wherever they lie"
    assert again["parts"].equals(rows["parts"])


def test_training_reads_all_shards_or_names_those_that_lack(
    run: Run, lake: Lake, store: FileStore, dataset: pl.DataFrame
) -> None:
    """Of the dataset as it is: what a shard holds of an earlier one is passed over."""
    run()
    tiny = model.presets.PRESETS["tiny"]
    with lake.snapshot() as reader:
        cached = read_cached(reader, tiny)
        with pytest.raises(NotPrecomputed, match="2 of 3 clips are precomputed for sizes .* those of x: run `lafid precom"):
            read_cached(reader, tiny.model_copy(update={"clip": ClipSize(frames=5, height=16, width=16)}))
    assert cached["clip_id"].to_list() == ["a", "b", "c"]
    clips = ClipSet(write_list(cached, store))
    assert (clips.clip_ids, clips.meta.caption, clips.persons) == (("a",), "Person a. No voice is heard.", ("person-a",))
    elsewhere = dataset.with_columns(shard=pl.when(pl.col("clip_id") == "b").then(pl.lit(OTHER)).otherwise("shard"))
    lake.put({LAFID_DATASET.name: elsewhere.with_columns(dataset_version=pl.lit("v2"))}, "all", "g")
    lake.put({TRAINING_LATENTS.name: TRAINING_LATENTS.frame([])}, OTHER, "f")
    run()
    with lake.snapshot() as reader, pytest.raises(NotPrecomputed, match="1 of 3 .* of y: run `lafid precompute --preset tiny`"):
        read_cached(reader, tiny)
    kept = elsewhere.filter(pl.col("clip_id") == "a").with_columns(dataset_version=pl.lit("v2"))
    lake.put({LAFID_DATASET.name: kept}, "all", "h")
    with lake.snapshot() as reader:
        assert read_cached(reader, tiny)["clip_id"].to_list() == ["a"]
