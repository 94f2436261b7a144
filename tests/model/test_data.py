"""Cached clips on disk, and the order in which a run reads them."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.data import ClipSet, DataError, batch_indices, read_clip_latents, write_clip_latents
from model.head_mask import MaskInfo


def test_a_clip_comes_back_bit_for_bit(latent_files: list[Path], tmp_path: Path) -> None:
    clip = read_clip_latents(latent_files[0])
    write_clip_latents(tmp_path / "copy.safetensors", clip)
    copy = read_clip_latents(tmp_path / "copy.safetensors")
    assert copy.meta == clip.meta
    for name in ("latents", "text", "null_text", "identity", "semantic", "detail"):
        assert torch.equal(getattr(copy, name), getattr(clip, name))
    for name in ("latents", "semantic", "angles_deg"):
        assert torch.equal(getattr(copy.views, name), getattr(clip.views, name))


def test_a_clip_without_views_serves_where_no_part_asks_for_them(latent_files: list[Path], tmp_path: Path) -> None:
    write_clip_latents(tmp_path / "plain.safetensors", replace(read_clip_latents(latent_files[0]), views=None))
    clips = ClipSet([tmp_path / "plain.safetensors"])
    batch = clips.batch([0])
    assert batch.references is None
    assert batch.face.angles_deg is None
    with pytest.raises(DataError, match=r"plain\.safetensors holds no views of the face"):
        clips.batch([0], views=[[0]])


def test_a_batch_has_the_faces_angles_and_the_views_asked_for(clips: ClipSet) -> None:
    batch = clips.batch([1, 3], views=[[2, 0], [1, 1]])
    assert torch.equal(batch.face.angles_deg[1], clips.views(3).angles_deg[0])
    assert batch.references.shape == (2, 2, 48, 4, 4)
    assert torch.equal(batch.references[0, 0], clips.views(1).latents[2])
    assert torch.equal(batch.references[1, 1], clips.views(3).latents[1])


def test_a_torn_clip_is_named(latent_files: list[Path], tmp_path: Path) -> None:
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(latent_files[0].read_bytes()[:-50])
    with pytest.raises(DataError, match=r"torn\.safetensors"):
        read_clip_latents(torn)


def test_no_clips_names_the_remedy() -> None:
    with pytest.raises(DataError, match="training_latents"):
        ClipSet([])


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("size", lambda clip: replace(clip, latents=clip.latents[:, :2])),
        ("engine", lambda clip: replace(clip, meta=clip.meta.model_copy(update={"face_engine": "other"}))),
        ("views", lambda clip: replace(clip, views=None)),
        ("head mask", lambda clip: replace(clip, meta=clip.meta.model_copy(update={"head_mask": MaskInfo(name="modnet")}))),
        ("base", lambda clip: replace(clip, meta=clip.meta.model_copy(update={"base_sha256": "0" * 64}))),
    ],
)
def test_clips_that_do_not_belong_together_are_named(latent_files: list[Path], tmp_path: Path, what: str, change) -> None:
    odd = tmp_path / "odd.safetensors"
    write_clip_latents(odd, change(read_clip_latents(latent_files[1])))
    with pytest.raises(DataError, match=what):
        ClipSet([latent_files[0], odd])


def test_the_order_of_files_does_not_matter(latent_files: list[Path]) -> None:
    forward, backward = ClipSet(latent_files), ClipSet(latent_files[::-1])
    assert [clip.meta.clip_id for clip in forward.clips] == [clip.meta.clip_id for clip in backward.clips]
    assert forward.digests() == backward.digests()


def test_every_clip_comes_once_an_epoch_and_none_is_dropped() -> None:
    seen = [index for step in range(5) for index in batch_indices(5, 2, seed=7, step=step)]
    assert Counter(seen[:5]) == Counter(seen[5:]) == Counter(range(5))
    assert seen[:5] != seen[5:]


def test_the_order_is_a_function_of_seed_and_step() -> None:
    assert batch_indices(9, 4, seed=1, step=12) == batch_indices(9, 4, seed=1, step=12)
    assert [batch_indices(9, 4, 1, step) for step in range(9)] != [batch_indices(9, 4, 2, step) for step in range(9)]


def test_a_batch_may_be_larger_than_the_set() -> None:
    assert Counter(batch_indices(2, 6, seed=0, step=0)) == {0: 3, 1: 3}
