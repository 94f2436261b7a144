"""What nothing names goes, on request; what is named stays."""

from collections.abc import Callable

import polars as pl
import pytest

from lafid_assets.schemas import TRAINING_LATENTS
from lafid_assets.training.base import base_folder
from lafid_assets.training.cache_sweep import drop_unnamed, sweep
from lafid_assets.training.encoding import SHARDS_FOLDER
from lafid_assets.training.latents import intact
from model.clip_size import ClipSize
from model.clips.clip_set import ClipSet
from model.clips.latent_shards import read_index
from model.presets import preset
from resources.lake.lake import Lake
from resources.lake.reader import TableMissing
from resources.store.file_store import FileStore
from tests.lafid_assets.training.encoded import encode_clips, list_of
from tests.model.cached_clips import read_clip


@pytest.fixture
def encode(lake: Lake, store: FileStore, faces: pl.DataFrame) -> Callable[..., pl.DataFrame]:
    """Materializes the table for clips of so many frames."""

    def run(dataset: pl.DataFrame, frames: int = 9) -> pl.DataFrame:
        chosen = preset("tiny").model_copy(update={"clip": ClipSize(frames=frames, height=16, width=16)})
        rows = encode_clips(dataset, faces, chosen, base_folder("tiny", store), store)
        lake.put({TRAINING_LATENTS.name: rows}, "shard-00000", "f")
        return rows

    return run


def test_what_no_row_names_goes(lake: Lake, store: FileStore, encode: Callable[..., pl.DataFrame], dataset: pl.DataFrame) -> None:
    earlier = encode(dataset)
    rows = encode(dataset.filter(pl.col("clip_id") == "b"), frames=5)
    folder = store.here(SHARDS_FOLDER)
    lists = [list_of(one, dataset, store) for one in (earlier, rows)]
    before = {path: path.stat().st_size for path in folder.rglob("*.safetensors")}
    assert sweep(lake, dry_run=True)
    assert {path: path.stat().st_size for path in folder.rglob("*.safetensors")} == before
    freed = sweep(lake)
    assert set(read_index(store, SHARDS_FOLDER).places) == {part["key"] for parts in rows["parts"] for part in parts}
    assert intact(rows, store)
    assert not any(path.exists() for path in lists), "whoever trains writes it anew"
    assert read_clip(ClipSet(list_of(rows, dataset, store), "test"), 0).latents.shape[1] == 5
    shrunk = sum(before.values()) - sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
    named = {path: size for path, size in freed.items() if path.endswith(".safetensors")}
    # Headers shrink too; what is told are the tensors.
    assert 0 < sum(named.values()) <= shrunk + 4096
    assert set(sweep(lake)) == {"latents/" + lists[1].name}


def test_a_forgotten_clips_parts_are_unnamed_before_the_tables_know(
    lake: Lake, store: FileStore, encode: Callable[..., pl.DataFrame], dataset: pl.DataFrame
) -> None:
    rows = encode(dataset)
    assert drop_unnamed(lake, []) == {}
    assert drop_unnamed(lake, ["b"], dry_run=True)
    assert intact(rows, store)
    drop_unnamed(lake, ["b"])
    kept = rows.filter(pl.col("clip_id") == "a")
    assert set(read_index(store, SHARDS_FOLDER).places) == {part["key"] for part in kept["parts"][0]}


def test_a_torn_shard_goes(lake: Lake, store: FileStore, encode: Callable[..., pl.DataFrame], dataset: pl.DataFrame) -> None:
    encode(dataset)
    torn = store.here(SHARDS_FOLDER) / "torn.safetensors"
    torn.write_bytes(b"torn")
    assert sweep(lake) == {"latents/shards/torn.safetensors": 4}
    assert not torn.exists()


def test_without_a_table_nothing_is_known_to_be_needed(lake: Lake) -> None:
    with pytest.raises(TableMissing, match="materialize the asset training_latents first"):
        sweep(lake)
