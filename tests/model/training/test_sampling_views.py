"""Which view of a clip conditions a step, which are its references, and what a clip goes without."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.clips.clip_set import ClipSet
from model.presets import PRESETS, Preset, TrainConfig
from model.training.batch_sampler import Order
from model.training.sampling import choose_face, choose_told, choose_views, draw_step, fixed_views
from tests.model.cached_clips import ClipLatents, read_clip, write_clips
from tests.model.training.conftest import ALONE

POSITIONS = 4000


@pytest.fixture
def turning(cached: list[ClipLatents], tmp_path: Path) -> ClipSet:
    """Five clips with views in one profile, the other, and nearly frontal; the first frame is in no spread view's pose."""
    angles = torch.tensor([[60.0, 0.0, 0.0], [-60.0, 0.0, 0.0], [5.0, 0.0, 0.0], [25.0, 0.0, 0.0]])
    views = [clip.views._replace(angles_deg=angles, detail=clip.views.detail + torch.arange(4)[:, None, None]) for clip in cached]
    return ClipSet(write_clips(tmp_path, [replace(clip, views=one) for clip, one in zip(cached, views, strict=True)]))


def test_the_conditioning_view_is_drawn_evenly_over_the_spread_ones(turning: ClipSet) -> None:
    drawn = Counter(choose_face(turning, 0, "drawn", 0, position) for position in range(600))
    assert set(drawn) == {0, 1, 2}
    assert min(drawn.values()) > 160
    assert [choose_face(turning, 0, "drawn", 0, position) for position in range(600)].count(0) == drawn[0]


def test_the_conditioning_view_may_be_the_frontal_one_or_the_first_frames(turning: ClipSet, clips: ClipSet) -> None:
    assert {choose_face(turning, 0, "frontal", 0, position) for position in range(20)} == {2}
    assert {choose_face(turning, 0, "first_frame", 0, position) for position in range(20)} == {3}
    assert choose_face(clips, 0, "first_frame", 0, 0) == 0, "it is the first of the spread views here"


@pytest.mark.parametrize("which", ["drawn", "frontal", "first_frame"])
def test_experts_and_aligner_see_the_same_view(turning: ClipSet, quick: Callable[..., Preset], which: str) -> None:
    preset = quick(batch_size=5, condition_view=which)
    order = Order(tuple(turning.buckets.values()), 5, 0)
    seen = set()
    for step in range(4):
        (drawn,) = draw_step(turning, order, preset, step, ALONE).forwards
        for row, clip_id in enumerate(drawn.batch.clip_ids):
            views = read_clip(turning, turning.clip_ids.index(clip_id)).views
            fits = {
                name: {
                    view
                    for view in range(4)
                    if torch.equal(getattr(views, name)[view].float(), getattr(drawn.batch.face, name)[row])
                }
                for name in ("angles_deg", "detail", "semantic", "identity")
            }
            (view,) = set.intersection(*fits.values())
            seen.add(view)
    assert seen == {"drawn": {0, 1, 2}, "frontal": {2}, "first_frame": {3}}[which]


def test_references_are_other_views_while_there_are_enough(clips: ClipSet) -> None:
    drawn = [choose_views(clips, 3, 2, 1, 0, position) for position in range(20)]
    assert {tuple(views) for views in drawn} == {(0, 2), (2, 0)}
    assert drawn[7] == choose_views(clips, 3, 2, 1, 0, 7)
    many = choose_views(clips, 0, 5, 1, 0, 0)
    assert many[2] == 1
    assert sorted(many[:3]) == [0, 1, 2]
    assert many[3:] == many[:2]
    of_another_clip = {tuple(choose_views(clips, 0, 2, None, 0, position)) for position in range(60)}
    assert len(of_another_clip) == 6


def test_judging_takes_every_view_in_turn(clips: ClipSet) -> None:
    """Of five clips with three views each: a clip is seen from another side at its next turn."""
    fixed = fixed_views(clips, range(15), 2)
    assert fixed.faces == [0, 1, 2, 0, 1, 1, 2, 0, 1, 2, 2, 0, 1, 2, 0]
    assert all(sorted([face, *references]) == [0, 1, 2] for face, references in zip(fixed.faces, fixed.references, strict=True))
    assert fixed_views(clips, [1], 4).references == [[2, 0, 1, 2]]


def test_a_clip_goes_without_everything_at_once_by_the_joint_share() -> None:
    """The others lose words, face and references each by itself."""
    config = TrainConfig(
        **PRESETS["tiny"].train.model_dump() | {"joint_dropout": 0.2, "text_dropout": 0.1, "speech_dropout": 0.3}
    )
    told = [choose_told(config, position) for position in range(POSITIONS)]
    nothing = [one for one in told if one.text == "empty" and not one.face and not one.references]
    assert len(nothing) / POSITIONS == pytest.approx(0.2, abs=0.02)
    rest = [one for one in told if one.text != "empty" or one.face or one.references]
    shares = {
        "words": sum(one.text == "empty" for one in rest),
        "speech": sum(one.text == "plain" for one in rest),
        "face": sum(not one.face for one in rest),
        "references": sum(not one.references for one in rest),
    }
    assert {name: count / len(rest) for name, count in shares.items()} == pytest.approx(
        {"words": 0.1, "speech": 0.27, "face": 0.1, "references": 0.1}, abs=0.025
    )
    assert choose_told(config, 5) == told[5]


def test_every_preset_trains_the_state_that_guidance_starts_from() -> None:
    """No words, nobody, and no views where there are any."""
    shares: dict[tuple[float, ...], float] = {}
    for preset in PRESETS.values():
        train = preset.train
        rates = (train.joint_dropout, train.text_dropout, train.face_dropout, train.reference_dropout, train.seed)
        if rates not in shares:
            told = [choose_told(train, position) for position in range(POSITIONS)]
            shares[rates] = sum(one.text == "empty" and not one.face and not one.references for one in told) / POSITIONS
        assert shares[rates] == pytest.approx(train.joint_dropout, abs=0.015), preset.name
        assert shares[rates] >= 0.05, preset.name
