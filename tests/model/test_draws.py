"""What a step draws from its clips: a function of seed and step, and never a person twice in a contrastive batch."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.data import ClipSet, DataError, read_clip_latents, write_clip_latents
from model.draws import choose_pairs, choose_views, first_views, hide_references
from model.presets import AlignerConfig, ReferenceConfig
from model.views import FaceViews


def test_views_are_drawn_without_repetition_while_there_are_enough(clips: ClipSet) -> None:
    drawn = [choose_views(clips, [0, 3], 2, seed=0, step=step) for step in range(20)]
    assert all(len(set(views)) == 2 for step in drawn for views in step)
    assert {view for step in drawn for views in step for view in views} == {0, 1, 2}
    assert drawn == [choose_views(clips, [0, 3], 2, seed=0, step=step) for step in range(20)]
    (many,) = choose_views(clips, [0], 5, seed=0, step=0)
    assert len(many) == 5
    assert set(many) == {0, 1, 2}
    assert first_views(clips, [0, 1], 4) == [[0, 1, 2, 0]] * 2


def test_references_are_hidden_and_dropped_by_share(clips: ClipSet) -> None:
    latents = clips.batch([0, 1, 2], views=[[0, 1]] * 3).references
    config = ReferenceConfig(views=2, masked_share=0.5)
    steps = [hide_references(latents, config, 0.5, (1, 2, 2), seed=0, step=step) for step in range(30)]
    assert all(step.visible.shape == (3, 2 * 2) for step in steps)
    kept = torch.stack([step.keep for step in steps]).float().mean()
    assert 0.3 < kept < 0.7
    assert len({tuple(step.visible.flatten().tolist()) for step in steps}) > 20
    again = hide_references(latents, config, 0.5, (1, 2, 2), seed=0, step=4)
    assert torch.equal(again.visible, steps[4].visible)


def test_a_pair_is_two_views_of_one_person(clips: ClipSet) -> None:
    pairs = choose_pairs(clips, AlignerConfig(pairs=4), seed=0, step=0)
    assert pairs.semantic.shape[:2] == (2, 4)
    assert pairs.angles_deg.shape == (2, 4, 3)
    owners = []
    for first, second in zip(*pairs.angles_deg, strict=True):
        holds = [
            {int(number) for number in range(5) if (clips.views(number).angles_deg == angles).all(dim=1).any()}
            for angles in (first, second)
        ]
        assert holds[0] == holds[1]
        assert not torch.equal(first, second)
        owners += holds[0]
    assert len(set(owners)) == 4


def test_a_person_of_several_clips_is_in_a_batch_once(latent_files: list[Path], tmp_path: Path) -> None:
    for number, file in enumerate(latent_files):
        clip = read_clip_latents(file)
        identity = "one" if number < 3 else None  # unknown persons count as a person each
        write_clip_latents(tmp_path / file.name, replace(clip, meta=clip.meta.model_copy(update={"identity_id": identity})))
    clips = ClipSet(sorted(tmp_path.iterdir()))
    assert {choose_pairs(clips, AlignerConfig(), 0, step).semantic.shape[1] for step in range(5)} == {3}


def test_without_two_views_of_anybody_the_remedy_is_named(latent_files: list[Path], tmp_path: Path) -> None:
    clip = read_clip_latents(latent_files[0])
    write_clip_latents(tmp_path / "one.safetensors", replace(clip, views=FaceViews(*(part[:1] for part in clip.views))))
    with pytest.raises(DataError, match=r"none of 1 clips holds two views.*fusion\.aligner is None"):
        choose_pairs(ClipSet([tmp_path / "one.safetensors"]), AlignerConfig(), 0, 0)
