"""What a step draws from its clips: a function of seed and step, and never a person twice in a contrastive batch."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.clip_parts import ClipLatents, write_clips
from model.data import ClipSet, DataError
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


def test_a_person_of_several_clips_is_in_a_batch_once(cached: list[ClipLatents], tmp_path: Path) -> None:
    # Unknown persons count as a person each.
    identities = ("one", "one", "one", None, None)
    metas = [clip.meta.model_copy(update={"identity_id": identity}) for clip, identity in zip(cached, identities, strict=True)]
    clips = ClipSet(write_clips(tmp_path, [replace(clip, meta=meta) for clip, meta in zip(cached, metas, strict=True)]))
    assert {choose_pairs(clips, AlignerConfig(), 0, step).semantic.shape[1] for step in range(5)} == {3}


def test_without_two_views_of_anybody_the_remedy_is_named(cached: list[ClipLatents], tmp_path: Path) -> None:
    one = replace(cached[0], views=FaceViews(*(part[:1] for part in cached[0].views)))
    with pytest.raises(DataError, match=r"none of 1 clips holds two views.*fusion\.aligner is None"):
        choose_pairs(ClipSet(write_clips(tmp_path, [one])), AlignerConfig(), 0, 0)
