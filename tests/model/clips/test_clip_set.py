"""Cached clips out of memory-mapped shards."""

import shutil
from dataclasses import fields, replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from model.clip_size import Bucket
from model.clips.clip_list import SHARDS, write_clip_list
from model.clips.clip_set import ClipSet, DataError
from tests.model.cached_clips import ClipLatents, read_clip, write_clips


def same(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    """Bit for bit; what was not seen is not seen again."""
    if one is None or other is None:
        return one is other
    return one.dtype == other.dtype and torch.equal(one.nan_to_num(-1), other.nan_to_num(-1))


def test_a_clip_comes_back_bit_for_bit(cached: list[ClipLatents], clips: ClipSet) -> None:
    assert clips.clip_ids == tuple(clip.meta.clip_id for clip in cached)
    assert clips.persons[3] == "person-3"
    for number, clip in enumerate(cached):
        copy = read_clip(clips, number)
        assert copy.meta == clip.meta
        assert same(clips.identity(number), clip.views.identity)
        for name in (field.name for field in fields(ClipLatents) if field.name not in ("meta", "views")):
            assert same(getattr(copy, name), getattr(clip, name)), name
        halved = clip.views._replace(semantic=clip.views.semantic.bfloat16(), detail=clip.views.detail.bfloat16())
        assert all(same(one, other) for one, other in zip(copy.views, halved, strict=True))


def test_a_batch_has_the_faces_and_the_views_asked_for(clips: ClipSet) -> None:
    batch = clips.batch([1, 3], views=[[2, 0], [1, 1]], faces=[0, 2])
    for row, (index, view) in enumerate(((1, 0), (3, 2))):
        views = read_clip(clips, index).views
        for name in ("identity", "semantic", "detail", "angles_deg"):
            assert torch.equal(getattr(batch.face, name)[row], getattr(views, name)[view].float()), name
    assert batch.references.shape == (2, 2, 48, 4, 4)
    assert torch.equal(batch.references[0, 0], read_clip(clips, 1).views.latents[2])
    assert torch.equal(batch.references[1, 1], read_clip(clips, 3).views.latents[1])
    assert batch.face_boxes.shape == (2, 3, 4)
    assert batch.face_boxes[:, 2].isnan().all()


def test_a_clip_is_told_its_caption_the_same_without_speech_or_nothing(clips: ClipSet) -> None:
    batch = clips.batch([0, 0, 0, 4], texts=["caption", "plain", "empty", "plain"])
    clip = read_clip(clips, 0)
    for row, text in zip(batch.text, (clip.text, clip.text_plain, clip.null_text, read_clip(clips, 4).text), strict=True):
        assert torch.equal(row[: len(text)], text)
        assert not row[len(text) :].any()


def test_the_spread_comes_beside_the_mean_in_its_precision(cached: list[ClipLatents], tmp_path: Path) -> None:
    spread = torch.rand(cached[0].latents.shape)
    clips = ClipSet(write_clips(tmp_path, [replace(cached[0], spread=spread)]))
    batch = clips.batch([0])
    assert batch.spread.dtype == batch.latents.dtype
    assert torch.allclose(batch.spread[0], spread, rtol=2**-8)
    moved = batch.to(torch.device("meta"))
    assert {moved.spread.device.type, moved.latents.device.type, moved.face_boxes.device.type} == {"meta"}


def test_a_torn_shard_is_named(clip_list: Path, tmp_path: Path) -> None:
    shutil.copytree(clip_list.parent, tmp_path / "moved")
    (shard,) = (tmp_path / "moved" / SHARDS).iterdir()
    shard.write_bytes(shard.read_bytes()[:-50])
    clips = ClipSet(tmp_path / "moved" / clip_list.name)
    with pytest.raises(DataError, match=rf"clip clip-1: .*{shard.name} is no readable shard.*materialize training_latents again"):
        clips.batch([1])


def test_no_clips_names_the_remedy(clip_list: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no cached clips of split test in .*materialize training_latents"):
        ClipSet(clip_list, "test")
    with pytest.raises(DataError, match="gone.parquet is no readable list of clips .*start the training again"):
        ClipSet(tmp_path / "gone.parquet")
    pq.write_table(pq.read_table(clip_list).drop_columns("angles_deg"), tmp_path / "old.parquet")
    with pytest.raises(DataError, match="old.parquet is a list of an earlier version, without angles_deg: start the train"):
        ClipSet(tmp_path / "old.parquet")


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("face engine other, clip clip-0 has stub", {"face_engine": "other"}),
        ("base 000000000000, clip clip-0 has", {"base_sha256": "0" * 64}),
        ("encoders 000000000000, clip clip-0 has", {"encoders_fingerprint": "0" * 64}),
        ("head mask modnet, clip clip-0 has oval", {"mask": "modnet"}),
        ("head mask's weights 000000000000, clip clip-0 has none", {"mask_sha256": "0" * 64}),
    ],
)
def test_clips_that_do_not_belong_together_are_named(
    cached: list[ClipLatents], tmp_path: Path, what: str, change: dict[str, str]
) -> None:
    odd = replace(cached[2], meta=cached[2].meta.model_copy(update=change))
    with pytest.raises(DataError, match=f"clip clip-2 has {what}"):
        ClipSet(write_clips(tmp_path, [*cached[:2], odd]))


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("latents of", lambda clip: {"latents": clip.latents[:, :2]}),
        ("face of", lambda clip: {"views": clip.views._replace(identity=clip.views.identity[:, :4])}),
        ("no face boxes, clip clip-0 has", lambda clip: {"face_boxes": None}),
    ],
)
def test_clips_that_do_not_fit_into_one_batch_are_named(cached: list[ClipLatents], tmp_path: Path, what: str, change) -> None:
    clips = ClipSet(write_clips(tmp_path, [cached[0], replace(cached[1], **change(cached[1]))]))
    with pytest.raises(DataError, match=f"clip clip-1 has {what}"):
        clips.batch([0, 1])


def test_a_split_holds_its_own_clips_by_size(cached: list[ClipLatents], tmp_path: Path) -> None:
    wide = Bucket(3, 16, 32)
    sized = [
        replace(clip, meta=clip.meta.model_copy(update={"bucket": wide})) if number in (0, 3) else clip
        for number, clip in enumerate(cached)
    ]
    path = write_clips(tmp_path, sized, lambda clip: "test" if clip.meta.clip_id == "clip-1" else "train")
    train, test = ClipSet(path), ClipSet(path, "test")
    assert train.clip_ids == ("clip-0", "clip-2", "clip-3", "clip-4")
    assert train.buckets == {Bucket(3, 16, 16): (1, 3), wide: (0, 2)}
    assert test.clip_ids == ("clip-1",)


def test_the_digest_is_over_the_data_and_not_over_where_it_lies(
    cached: list[ClipLatents], clips: ClipSet, tmp_path: Path
) -> None:
    assert ClipSet(write_clips(tmp_path / "backwards", cached[::-1])).digest == clips.digest
    assert ClipSet(write_clips(tmp_path / "fewer", cached[:4])).digest != clips.digest
    entries = [clips.entry(index) for index in range(len(clips))]
    elsewhere = [
        replace(entry, parts={part: place._replace(shard="other") for part, place in entry.parts.items()}) for entry in entries
    ]
    write_clip_list(tmp_path / "elsewhere.parquet", elsewhere)
    assert ClipSet(tmp_path / "elsewhere.parquet").digest == clips.digest
    for name, change in (
        ("detail", {"views": cached[0].views._replace(detail=cached[0].views.detail + 1)}),
        ("angles", {"views": cached[0].views._replace(angles_deg=cached[0].views.angles_deg + 1)}),
        ("person", {"meta": cached[0].meta.model_copy(update={"identity_id": "somebody else"})}),
    ):
        changed = write_clips(tmp_path / name, [replace(cached[0], **change), *cached[1:]])
        assert ClipSet(changed).digest != clips.digest, name


def test_views_may_be_another_clips(clips: ClipSet) -> None:
    batch = clips.batch([1, 3], views=[[2, 0], [1, 1]], views_of=[1, 4])
    assert torch.equal(batch.references[0, 0], read_clip(clips, 1).views.latents[2])
    assert torch.equal(batch.references[1, 0], read_clip(clips, 4).views.latents[1])
    semantic, angles = clips.posed_views({4: [1, 2], 2: [2, 0]})
    for place, (index, chosen) in enumerate(((4, [1, 2]), (2, [2, 0]))):
        views = read_clip(clips, index).views
        assert torch.equal(semantic[:, place], views.semantic[chosen].bfloat16())
        assert torch.equal(angles[:, place], views.angles_deg[chosen])


def test_the_clips_of_a_person_are_known(cached: list[ClipLatents], tmp_path: Path) -> None:
    metas = [clip.meta.model_copy(update={"identity_id": who}) for clip, who in zip(cached, "abab", strict=False)]
    clips = ClipSet(write_clips(tmp_path, [replace(clip, meta=meta) for clip, meta in zip(cached, metas, strict=False)]))
    assert clips.of_person("a") == (0, 2)
    assert clips.of_person("b") == (1, 3)


def test_a_batch_is_cut_in_time_and_a_short_one_stays(cached: list[ClipLatents], tmp_path: Path) -> None:
    spread = torch.rand(cached[0].latents.shape).bfloat16().float()
    batch = ClipSet(write_clips(tmp_path, [replace(cached[0], spread=spread)])).batch([0])
    short = batch.cut(2)
    assert torch.equal(short.latents[0], cached[0].latents[:, :2])
    assert torch.equal(short.spread[0], spread[:, :2])
    assert torch.equal(short.face_boxes[0], cached[0].face_boxes[:2])
    assert torch.equal(batch.cut(9).latents, batch.latents)
