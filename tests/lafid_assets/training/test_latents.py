"""The cache of everything frozen: keyed by content, encoded once."""

import io
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from lafid_assets.outcomes import ClipError
from lafid_assets.schemas import TRAINING_LATENTS
from lafid_assets.training import latents as module
from lafid_assets.training.base import base_folder, base_path
from lafid_assets.training.latents import all_present, encode_dataset, files_of
from model.data import read_clip_latents
from model.head_mask import MaskInfo
from model.presets import ClipSize
from resources.shard_store import ShardStore

SIZE = ClipSize(frames=9, height=16, width=16)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the clips that were really encoded."""
    ids: list[str] = []
    encode = module._encode

    def counting(clip: dict, *arguments: object) -> None:
        ids.append(clip["clip_id"])
        encode(clip, *arguments)

    monkeypatch.setattr(module, "_encode", counting)
    return ids


@pytest.fixture
def base_dir(store: ShardStore) -> Path:
    return base_folder("tiny", store)


def test_base_lies_in_the_store_and_is_built_once(store: ShardStore, base_dir: Path) -> None:
    assert base_dir == store.local_path(base_path("tiny"))
    before = {path: path.stat().st_mtime_ns for path in base_dir.rglob("*")}
    assert before
    assert base_folder("tiny", store) == base_dir
    assert {path: path.stat().st_mtime_ns for path in base_dir.rglob("*")} == before


def test_a_real_base_is_not_made_up(store: ShardStore) -> None:
    with pytest.raises(ValueError, match=r"hf download Wan-AI/Wan2\.2-TI2V-5B-Diffusers"):
        base_folder("wan2.2-ti2v-5b", store)


def test_second_call_encodes_nothing(store: ShardStore, base_dir: Path, dataset: pl.DataFrame, encoded: list[str]) -> None:
    first = encode_dataset(dataset, SIZE, base_dir, store)
    assert encoded == ["a", "b"]
    assert encode_dataset(dataset, SIZE, base_dir, store).equals(first)
    assert encoded == ["a", "b"]
    assert TRAINING_LATENTS.violations(first) == {"schema": [], "unique_key": [], "values": []}


def test_rows_tell_what_lies_where(store: ShardStore, base_dir: Path, dataset: pl.DataFrame) -> None:
    rows = encode_dataset(dataset, SIZE, base_dir, store)
    row = rows.row(0, named=True)
    assert (row["frames"], row["height"], row["width"], row["split"]) == (9, 16, 16, "train")
    path = store.local_path(row["latents_path"])
    assert path.stat().st_size == row["file_size_bytes"]
    clip = read_clip_latents(path)
    assert clip.meta.clip_id == "a"
    assert clip.identity.shape == (128,)
    assert clip.meta.encoders_fingerprint == row["encoders_fingerprint"]
    assert files_of(rows, "test", store) == [store.local_path(rows["latents_path"][1])]
    assert all_present(rows["latents_path"], store)
    path.unlink()
    assert not all_present(rows["latents_path"], store)


def test_the_references_are_views_with_their_angles(store: ShardStore, base_dir: Path, dataset: pl.DataFrame) -> None:
    row = encode_dataset(dataset, SIZE, base_dir, store).row(0, named=True)
    clip = read_clip_latents(store.local_path(row["latents_path"]))
    assert clip.meta.identity_id == "person-a"
    assert clip.views.angles_deg.tolist() == [[0, 0, 0], [30, -5, 2]]
    assert clip.views.latents.shape == (2, 48, 8, 8)  # 32 px a side
    assert clip.views.semantic[0].equal(clip.semantic)
    assert not clip.views.semantic[1].equal(clip.views.semantic[0])
    fewer = encode_dataset(dataset, SIZE.model_copy(update={"views": 1}), base_dir, store).row(0, named=True)
    assert read_clip_latents(store.local_path(fewer["latents_path"])).views.angles_deg.shape == (1, 3)


def test_heads_are_those_that_were_cut_and_the_file_says_by_what(
    store: ShardStore, base_dir: Path, dataset: pl.DataFrame
) -> None:
    whole = encode_dataset(dataset, SIZE, base_dir, store).row(0, named=True)
    assert read_clip_latents(store.local_path(whole["latents_path"])).meta.head_mask == MaskInfo()
    masked = pl.element().struct.with_fields(mask=pl.lit("modnet"), mask_sha256=pl.lit("abc"))
    other = dataset.with_columns(references=pl.col("references").list.eval(masked))
    buffer = io.BytesIO()
    Image.new("RGB", (58, 58), "white").save(buffer, format="PNG")
    store.write_bytes("crops/a-0-head.png", buffer.getvalue())
    cut = encode_dataset(other, SIZE, base_dir, store).row(0, named=True)
    first, second = (read_clip_latents(store.local_path(row["latents_path"])) for row in (whole, cut))
    assert second.meta.head_mask == MaskInfo(name="modnet", sha256="abc")
    assert second.latents.equal(first.latents)
    assert not second.semantic.equal(first.semantic)
    store.remove("crops/a-0-head.png")
    with pytest.raises(ClipError, match="the reference pictures of a are not in the store: materialize reference_crops again"):
        encode_dataset(other.with_columns(refined_caption=pl.lit("anew")), SIZE, base_dir, store)


@pytest.mark.parametrize(
    "change",
    [
        {"content_sha256": "other"},
        {"refined_caption": "She nods."},
        {"identity_embedding": [1.0] * 128},
        {"engine_version": "2"},
        {"identity_id": "somebody else"},
        {"references": [{"mask_sha256": "other"}]},
        {"references": [{"frame_index": 3}]},
    ],
    ids=str,
)
def test_whatever_goes_into_the_tensors_makes_another_key(dataset: pl.DataFrame, change: dict) -> None:
    row = dataset.row(0, named=True)
    changed = row | change
    if "references" in change:
        changed["references"] = [row["references"][0] | change["references"][0]]
    assert module._cache_key(changed, SIZE, "e") != module._cache_key(row, SIZE, "e")
    assert module._cache_key(row, SIZE, "f") != module._cache_key(row, SIZE, "e")
    assert module._cache_key(row, ClipSize(), "e") != module._cache_key(row, SIZE, "e")


@pytest.mark.parametrize("change", [{"path": "moved"}, {"split": "test"}, {"dataset_version": "v2"}, {"licence": "CC0"}], ids=str)
def test_what_does_not_go_into_them_does_not(dataset: pl.DataFrame, change: dict) -> None:
    row = dataset.row(0, named=True)
    assert module._cache_key(row | change, SIZE, "e") == module._cache_key(row, SIZE, "e")


def test_clips_too_short_are_left_out_and_told(
    store: ShardStore, base_dir: Path, dataset: pl.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a clip of exactly one second nothing is on screen any more at its end, where the window's last frame is."""
    assert encode_dataset(dataset, SIZE, base_dir, store)["clip_id"].to_list() == ["a", "b"]
    assert "1 clips are not longer than 1.00 s" in caplog.text


def test_clip_that_has_gone_is_named_and_what_was_encoded_stays(
    store: ShardStore, base_dir: Path, dataset: pl.DataFrame, tmp_path: Path, encoded: list[str]
) -> None:
    (tmp_path / "footage" / "b").rename(tmp_path / "hidden")
    with pytest.raises(ClipError, match="b has disappeared: put it back, or materialize raw_clips again"):
        encode_dataset(dataset, SIZE, base_dir, store)
    (tmp_path / "hidden").rename(tmp_path / "footage" / "b")
    encode_dataset(dataset, SIZE, base_dir, store)
    assert encoded == ["a", "b", "b"]


def test_nothing_kept_is_an_empty_table(store: ShardStore, base_dir: Path, dataset: pl.DataFrame) -> None:
    assert encode_dataset(dataset.head(0), SIZE, base_dir, store).height == 0
