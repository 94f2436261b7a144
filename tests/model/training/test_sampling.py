"""What a step draws from its clips: a function of seed and step, and never a person twice in a contrastive batch."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.clips.clip_set import ClipSet, DataError
from model.presets import AlignerConfig, Preset, ReferenceConfig, Stage
from model.training.batch_sampler import Order
from model.training.parallel import Ranks
from model.training.sampling import (
    choose_pairs,
    choose_shown,
    draw_step,
    draw_steps,
    hide_references,
    moved,
    sample_latents,
    weigh_face,
)
from tests.model.cached_clips import ClipLatents, read_clip, write_clips
from tests.model.training.conftest import ALONE, CPU

Quick = Callable[..., Preset]


@pytest.fixture
def crowd(cached: list[ClipLatents], tmp_path: Path) -> ClipSet:
    """The first three clips show one person, the others somebody each of whom no other clip is known."""
    identities = ("one", "one", "one", None, None)
    metas = [clip.meta.model_copy(update={"identity_id": identity}) for clip, identity in zip(cached, identities, strict=True)]
    return ClipSet(write_clips(tmp_path, [replace(clip, meta=meta) for clip, meta in zip(cached, metas, strict=True)]))


def whole(clips: ClipSet, preset: Preset, step: int = 0) -> list:
    """All forwards of a step, of all processes."""
    order = Order(tuple(clips.buckets.values()), preset.train.batch_size, preset.train.seed)
    return list(draw_step(clips, order, preset, step, ALONE).forwards)


def test_references_are_hidden_by_share(clips: ClipSet) -> None:
    latents = clips.batch([1], views=[[0, 1]]).references
    config = ReferenceConfig(views=2, masked_share=0.5)
    keep = torch.tensor([False])
    steps = [hide_references(latents, config, keep, (1, 2, 2), seed=0, position=position) for position in range(30)]
    assert all(step.visible.shape == (1, 2 * 2) and step.keep is keep for step in steps)
    assert len({tuple(step.visible.flatten().tolist()) for step in steps}) > 20
    again = hide_references(latents, config, keep, (1, 2, 2), seed=0, position=4)
    assert torch.equal(again.visible, steps[4].visible)


def test_references_come_from_another_clip_of_the_person_for_a_share(crowd: ClipSet) -> None:
    def shown(index: int, share: float, seed: int = 0) -> Counter:
        config = ReferenceConfig(cross_share=share)
        return Counter(choose_shown(crowd, index, config, seed, position) for position in range(200))

    assert shown(1, 0.0) == {1: 200}
    others = shown(1, 1.0)
    assert set(others) == {0, 2}
    assert min(others.values()) > 60
    assert 60 < shown(1, 0.5)[1] < 140
    assert shown(1, 0.5) == shown(1, 0.5) != shown(1, 0.5, seed=1)
    assert shown(3, 1.0) == {3: 200}  # nobody knows another clip of this person


def test_a_forward_shows_the_views_of_the_clip_chosen_and_the_face_of_its_own(crowd: ClipSet, quick: Quick) -> None:
    preset = quick(batch_size=5)
    references = preset.fusion.references.model_copy(update={"cross_share": 1.0})
    preset = preset.model_copy(update={"fusion": preset.fusion.model_copy(update={"references": references})})
    (drawn,) = whole(crowd, preset)
    for clip_id, views, identity in zip(drawn.batch.clip_ids, drawn.references.latents, drawn.batch.face.identity, strict=True):
        index = crowd.clip_ids.index(clip_id)
        owners = {
            owner
            for owner in range(5)
            for view in read_clip(crowd, owner).views.latents
            if any(torch.equal(view, one) for one in views)
        }
        assert len(owners) == 1
        assert (index in owners) == (index > 2)
        assert any(torch.equal(identity, own) for own in read_clip(crowd, index).views.identity)


def test_a_pair_is_two_views_of_one_person(clips: ClipSet) -> None:
    pairs = choose_pairs(clips, AlignerConfig(pairs=4), seed=0, step=0).pairs
    assert pairs.semantic.shape[:2] == (2, 4)
    assert pairs.angles_deg.shape == (2, 4, 3)
    owners = []
    for first, second in zip(*pairs.angles_deg, strict=True):
        holds = [
            {int(number) for number in range(5) if (read_clip(clips, number).views.angles_deg == angles).all(dim=1).any()}
            for angles in (first, second)
        ]
        assert holds[0] == holds[1]
        assert not torch.equal(first, second)
        owners += holds[0]
    assert len(set(owners)) == 4


def test_a_person_of_several_clips_is_in_a_contrastive_batch_once(crowd: ClipSet) -> None:
    """Whichever of the person's clips it is: unknown persons count as a person each."""
    drawn = set()
    for step in range(20):
        pairs = choose_pairs(crowd, AlignerConfig(), 0, step).pairs
        owners = [
            next(number for number in range(5) if (read_clip(crowd, number).views.angles_deg == angles).all(dim=1).any())
            for angles in pairs.angles_deg[0]
        ]
        assert sorted(crowd.persons[owner] for owner in owners) == ["clip clip-3", "clip clip-4", "one"]
        drawn |= set(owners)
    assert drawn == {0, 1, 2, 3, 4}


def test_pairs_lie_apart_and_who_turns_less_is_left_out(cached: list[ClipLatents], tmp_path: Path) -> None:
    """The first person has three views within the floor, each other one two pairs beyond it, of three."""
    yaws = [[0.0, 5.0, 19.0, 90.0], *([0.0, -8.0, 30.0 + number, 0.0] for number in range(4))]
    posed = [
        replace(clip, views=clip.views._replace(angles_deg=torch.tensor([[yaw, 0.0, 0.0] for yaw in of_one])))
        for clip, of_one in zip(cached, yaws, strict=True)
    ]
    clips = ClipSet(write_clips(tmp_path, posed))
    drawn = torch.stack([choose_pairs(clips, AlignerConfig(), 0, step).pairs.angles_deg[..., 0] for step in range(20)])
    assert drawn.shape == (20, 2, 4), "four persons of five"
    assert (drawn[:, 0] - drawn[:, 1]).abs().min() >= 20
    assert set(drawn.flatten().tolist()) == {0.0, -8.0, 30.0, 31.0, 32.0, 33.0}
    assert choose_pairs(clips, AlignerConfig(least_gap_deg=5), 0, 0).pairs.angles_deg.shape == (2, 5, 3)
    with pytest.raises(
        DataError, match=r"none of 5 clips holds two views .* 60 degrees apart.*least_gap_deg.*fusion\.aligner is None"
    ):
        choose_pairs(clips, AlignerConfig(least_gap_deg=60), 0, 0)


def test_latents_are_drawn_from_the_moments_anew_at_every_position(cached: list[ClipLatents], tmp_path: Path) -> None:
    spread = torch.rand(cached[0].latents.shape).bfloat16().float()
    clips = ClipSet(write_clips(tmp_path, [replace(clip, spread=spread) for clip in cached]))
    batch = clips.batch([0, 0])
    drawn = [sample_latents(batch, 7, (2 * step, 2 * step + 1)) for step in range(300)]
    rows = torch.cat(drawn)
    torch.testing.assert_close(rows.mean(dim=0), cached[0].latents, atol=0.25, rtol=0)
    torch.testing.assert_close(rows.std(dim=0), spread, atol=0.25, rtol=0)
    assert torch.equal(sample_latents(batch, 7, (4, 5)), drawn[2])
    assert torch.equal(sample_latents(clips.batch([0]), 7, (5,))[0], drawn[2][1])


def test_a_step_trains_on_latents_drawn_at_its_own_positions(cached: list[ClipLatents], quick: Quick, tmp_path: Path) -> None:
    spread = torch.ones_like(cached[0].latents)
    clips = ClipSet(write_clips(tmp_path, [replace(clip, spread=spread) for clip in cached]))
    for step in (0, 3):
        (drawn,) = whole(clips, quick(batch_size=5), step)
        mean = clips.batch([clips.clip_ids.index(clip_id) for clip_id in drawn.batch.clip_ids])
        assert torch.equal(drawn.batch.latents, sample_latents(mean, 0, range(5 * step, 5 * step + 5)))
        assert not torch.equal(drawn.batch.latents, mean.latents)


def test_a_codec_without_spread_gives_its_mean(clips: ClipSet) -> None:
    batch = clips.batch([0, 1])
    assert batch.spread is None
    assert torch.equal(sample_latents(batch, 0, (0, 1)), batch.latents)


def test_texts_follow_their_rates(clips: ClipSet, quick: Quick) -> None:
    """Two of the five clips have a sentence on speech."""

    def told(**rates: float) -> dict[str, torch.Tensor]:
        (drawn,) = whole(clips, quick(batch_size=5, joint_dropout=0.0, **rates))
        return dict(zip(drawn.batch.clip_ids, drawn.batch.text, strict=True))

    for clip_id, text in told(text_dropout=0.0, speech_dropout=1.0).items():
        clip = read_clip(clips, clips.clip_ids.index(clip_id))
        rows = clip.text if clip.text_plain is None else clip.text_plain
        assert torch.equal(text[: len(rows)], rows)
        assert not text[len(rows) :].any()
    full = told(text_dropout=0.0, speech_dropout=0.0)
    assert all(
        torch.equal(full[clip_id][: len(read_clip(clips, i).text)], read_clip(clips, i).text)
        for i, clip_id in enumerate(clips.clip_ids)
    )


def test_a_stage_cuts_clips_in_time_and_ends(cached: list[ClipLatents], quick: Quick, tmp_path: Path) -> None:
    """The tiny codec does not compress time: two frames are two latents; one bucket is shorter than the stage."""
    spread = torch.ones_like(cached[0].latents)
    short = [
        replace(
            clip,
            latents=clip.latents[:, :1],
            spread=spread[:, :1],
            face_boxes=clip.face_boxes[:1],
            meta=clip.meta.model_copy(update={"bucket": clip.meta.bucket._replace(frames=1)}),
        )
        for clip in cached[3:]
    ]
    clips = ClipSet(write_clips(tmp_path, [*(replace(clip, spread=spread) for clip in cached[:3]), *short]))
    preset = quick(batch_size=2, curriculum=(Stage(until_step=10, frames=2),), face_loss_weight=2.0)
    found: dict[tuple[bool, int], set[int]] = {}
    for step in range(20):
        (drawn,) = whole(clips, preset, step)
        frames = drawn.batch.latents.shape[2]
        assert drawn.noise.shape == drawn.batch.latents.shape
        assert drawn.cell_weight.shape == (2, frames, 4, 4)
        assert drawn.batch.face_boxes.shape == (2, frames, 4)
        whole_frames = clips.entry(clips.clip_ids.index(drawn.batch.clip_ids[0])).meta.bucket.frames
        found.setdefault((step < 10, whole_frames), set()).add(frames)
    assert found == {(True, 3): {2}, (True, 1): {1}, (False, 3): {3}, (False, 1): {1}}


def test_the_cells_that_the_faces_box_touches_weigh_more(clips: ClipSet) -> None:
    boxes = torch.tensor([[[0.25, 0.5, 0.6, 1.0], [float("nan")] * 4, [-0.2, -0.2, 0.1, 0.1]]])
    weights = weigh_face(boxes, height=2, width=4, weight=3.0)
    assert weights.shape == (1, 3, 2, 4)
    assert weights[0, 0].tolist() == [[1, 1, 1, 1], [1, 3, 3, 1]]
    assert weights[0, 1].tolist() == [[1, 1, 1, 1], [1, 1, 1, 1]]
    assert weights[0, 2].tolist() == [[3, 1, 1, 1], [1, 1, 1, 1]]


def test_boxes_that_are_asked_for_and_not_there_are_named(cached: list[ClipLatents], quick: Quick, tmp_path: Path) -> None:
    clips = ClipSet(write_clips(tmp_path, [replace(clip, face_boxes=None) for clip in cached]))
    assert whole(clips, quick())[0].cell_weight is None
    with pytest.raises(DataError, match=r"clip clip-\d holds no boxes of its face.*face_loss_weight"):
        whole(clips, quick(face_loss_weight=2.0))


def test_neither_forwards_nor_processes_change_what_a_clip_draws(clips: ClipSet, quick: Quick) -> None:
    (together,) = whole(clips, quick(batch_size=5), step=3)
    parts = whole(clips, quick(batch_size=5, forward_clips=2), step=3)
    assert [part.rows.tolist() for part in parts] == [[0, 1], [2, 3], [4]]
    order = Order(tuple(clips.buckets.values()), 5, 0)
    shares = [draw_step(clips, order, quick(batch_size=5), 3, Ranks(rank, 2, CPU)).forwards[0] for rank in range(2)]
    for several in (parts, shares):
        for name in ("noise", "sigma", "keep_face"):
            assert torch.equal(torch.cat([getattr(part, name) for part in several]), getattr(together, name)), name
        assert torch.equal(torch.cat([part.references.visible for part in several]), together.references.visible)
        assert torch.equal(torch.cat([part.references.latents for part in several]), together.references.latents)
        assert torch.equal(torch.cat([part.batch.text for part in several]), together.batch.text)


def test_for_a_gpu_draws_are_pinned_by_a_thread_that_is_on_that_gpu(
    clips: ClipSet, quick: Quick, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor.to("meta"))
    preset, gpu = quick(batch_size=2), torch.device("cuda:1")
    draws = next(draw_steps(clips, Order(tuple(clips.buckets.values()), 2, 0), preset, 0, Ranks(0, 1, gpu)))
    (drawn,) = draws.forwards
    assert {tensor.device.type for tensor in (drawn.noise, drawn.batch.latents, *drawn.references, *draws.pairs.pairs)} == {
        "meta"
    }
    assert chosen == [gpu]
    here = next(draw_steps(clips, Order(tuple(clips.buckets.values()), 2, 0), preset, 0, ALONE))
    assert here.forwards[0].noise.device.type == "cpu"
    assert (draws.clip_ids, draws.step) == (here.clip_ids, 0)
    assert torch.equal(draws.quantile, here.quantile)


def test_moving_draws_moves_every_tensor_in_them(clips: ClipSet, quick: Quick) -> None:
    (drawn,) = whole(clips, quick(batch_size=2, face_loss_weight=2.0))
    there = moved(drawn, torch.device("meta"))
    tensors = [there.noise, there.sigma, there.keep_face, there.cell_weight, *there.references, *there.batch.face]
    tensors += [there.batch.latents, there.batch.text, there.batch.face_boxes, there.rows]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert there.batch.clip_ids == drawn.batch.clip_ids
