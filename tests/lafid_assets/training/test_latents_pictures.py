"""The cache on bases that are given pictures: parts of their own, each encoded once for what it depends on."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

import model.bases.base
from lafid_assets.training.encoding import SHARDS_FOLDER
from model.bases.base import load_base
from model.bases.build import build_tiny_base
from model.clip_size import ClipSize
from model.clips.clip_parts import CONDITION_TENSORS
from model.clips.clip_set import ClipSet
from model.clips.latent_shards import read_index
from model.encoding.condition_encoder import ConditionEncoder
from model.encoding.video_io import read_frames
from model.presets import preset
from resources.store.file_store import FileStore
from tests.lafid_assets.training.encoded import encode_clips, list_of
from tests.model.cached_clips import read_clip
from tests.model.layouts import WITH_PICTURES

SIZE = ClipSize(frames=9, height=16, width=16)
PARTS = {"tiny-i2v": {"control", "image_embeds"}, "tiny-i2v-two-experts": {"control"}, "tiny-vace": {"control", "picture"}}
Encode = Callable[..., pl.DataFrame]


@pytest.fixture(params=sorted(WITH_PICTURES))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def base_dir(name: str, tmp_path: Path) -> Path:
    build_tiny_base(tmp_path / "base", spec=WITH_PICTURES[name])
    return tmp_path / "base"


@pytest.fixture
def encode(name: str, base_dir: Path, store: FileStore, faces: pl.DataFrame) -> Encode:
    def run(dataset: pl.DataFrame, **size: Any) -> pl.DataFrame:
        chosen = preset("tiny").model_copy(update={"clip": SIZE.model_copy(update=size), "base": WITH_PICTURES[name]})
        return encode_clips(dataset, faces, chosen, base_dir, store)

    return run


def keys(rows: pl.DataFrame, clip: int = 0) -> dict[str, str]:
    return {part["part"]: part["key"] for part in rows["parts"][clip]}


def test_clips_hold_what_their_base_is_given(
    name: str, base_dir: Path, encode: Encode, dataset: pl.DataFrame, store: FileStore
) -> None:
    rows = encode(dataset)
    assert set(keys(rows)) & {*CONDITION_TENSORS, "picture"} == PARTS[name]
    clip = read_clip(ClipSet(list_of(rows, dataset, store)), 0)
    condition = clip.condition
    encoder = ConditionEncoder(load_base(base_dir, "cpu"))
    if name == "tiny-vace":
        assert torch.equal(condition.control, encoder.empty_control(9, 16, 16))
        assert clip.views.picture.shape == (3, 48, 1, 4, 4)
        assert not torch.equal(clip.views.picture[0], clip.views.picture[1]), "each view's own"
        assert keys(rows, 0)["control"] == keys(rows, 1)["control"], "it says nothing of a clip, so clips share it"
        assert keys(rows, 0)["picture"] != keys(rows, 1)["picture"]
        return
    whole = read_frames(Path(dataset["clip_root"][0]) / "a", [0.0])[0]
    first = np.asarray(Image.fromarray(whole).resize((16, 16), Image.Resampling.BICUBIC))
    close = encoder.first_frame_control(first, 9)
    assert condition.control.shape == close.shape
    assert (condition.control[:, :, 1:] == close[:, :, 1:]).all(), "nothing is known after the first frame"
    assert not torch.equal(condition.control[:, :, 0], condition.control[:, :, 1])
    assert keys(rows, 0)["control"] != keys(rows, 1)["control"]


@pytest.mark.parametrize(
    ("change", "size", "again"),
    [
        ({"refined_caption": "She nods. No voice is heard."}, {}, set()),
        ({"references": {"frame_index": 6}}, {}, {"picture"}),
        ({}, {"fps": 7.9}, set()),
        ({}, {"frames": 8}, {"control"}),
        ({}, {"height": 32}, {"control", "image_embeds", "picture"}),
        ({}, {"view_side": 16}, set()),
    ],
)
def test_a_change_costs_the_parts_that_depend_on_it(
    name: str, encode: Encode, dataset: pl.DataFrame, change: dict[str, Any], size: dict[str, Any], again: set[str]
) -> None:
    before, row = encode(dataset), dataset.row(0, named=True)
    if "references" in change:
        first, *others = row["references"]
        change = {"references": [first | change["references"], *others]}
    after = encode(pl.DataFrame([row | change], schema=dataset.schema), **size)
    assert {part for part in PARTS[name] if keys(before)[part] != keys(after)[part]} == again & PARTS[name]


@pytest.mark.parametrize(("component", "again"), [("vae", {"control", "picture"}), ("image_encoder", {"image_embeds"})])
def test_a_changed_encoder_costs_its_parts(
    name: str, encode: Encode, dataset: pl.DataFrame, monkeypatch: pytest.MonkeyPatch, component: str, again: set[str]
) -> None:
    before, real = encode(dataset), model.bases.base.load_base

    def changed(*given: Any, **how: Any) -> model.bases.base.Base:
        base = real(*given, **how)
        return replace(base, digests={**base.digests, component: "f" * 64})

    monkeypatch.setattr(model.bases.base, "load_base", changed)
    after = encode(dataset)
    assert {part for part in PARTS[name] if keys(before)[part] != keys(after)[part]} == again & PARTS[name]


@pytest.mark.parametrize("name", ["tiny-vace"])
def test_what_clips_share_is_encoded_and_stored_once(
    encode: Encode, dataset: pl.DataFrame, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[tuple[int, int, int]] = []
    real = ConditionEncoder.empty_control

    def noting(self: ConditionEncoder, *size: int) -> torch.Tensor:
        sizes.append(size)
        return real(self, *size)

    monkeypatch.setattr(ConditionEncoder, "empty_control", noting)
    rows = encode(dataset)
    assert sizes.count((9, 16, 16)) == 1 + 2, "of all clips once, and twice where the pace is measured"
    held = [keys(rows, clip)[part] for clip in (0, 1) for part in keys(rows, clip)]
    assert len(read_index(store, SHARDS_FOLDER).places) == len(set(held)) < len(held)


@pytest.mark.parametrize("name", ["tiny-i2v"])
def test_what_the_transformer_alone_reads_lies_in_its_precision(
    base_dir: Path, dataset: pl.DataFrame, faces: pl.DataFrame, store: FileStore
) -> None:
    """Not what noise is mixed into first; a batch is in float32 whatever lies there."""
    tiny = preset("tiny")
    halved = tiny.train.model_copy(update={"precision": "bfloat16"})
    chosen = tiny.model_copy(update={"clip": SIZE, "base": WITH_PICTURES["tiny-i2v"], "train": halved})
    one = dataset.filter(pl.col("clip_id") == "a")
    clips = ClipSet(list_of(encode_clips(one, faces, chosen, base_dir, store), one, store))
    clip, batch = read_clip(clips, 0), clips.batch([0], views=[[0, 1]])
    narrow = [clip.text, clip.null_text, clip.views.latents, clip.condition.control, clip.condition.image_embeds]
    assert {tensor.dtype for tensor in narrow} == {torch.bfloat16}
    assert {clip.latents.dtype, clip.views.identity.dtype} == {torch.float32}
    read = [batch.latents, batch.text, batch.references, batch.condition.control, batch.condition.image_embeds]
    assert {tensor.dtype for tensor in read} == {torch.float32}
