"""Multi-view references: a way and positions of their own, hidden in part, read through projections that begin at zero."""

from collections.abc import Callable

import pytest
import torch
from diffusers import WanTransformer3DModel

from model.bases.base import Base
from model.bases.flow import token_timesteps
from model.clips.clip_set import Batch, ClipSet
from model.encoding.face_features import FaceFeatures
from model.face_branch.attach import FACE, REFERENCES, FaceContext, attach
from model.face_branch.fusion import FaceFusion
from model.face_branch.reference_stream import VideoPositions
from model.face_branch.references import References, reference_positions, region_mask
from model.face_branch.trainable import FusedModel
from model.presets import Preset
from tests.model.conftest import hear

Fused = Callable[..., FusedModel]
VIDEO = (2, 48, 3, 4, 4)  # 3 x 2 x 2 tokens


@pytest.fixture
def batch(clips: ClipSet) -> Batch:
    return clips.batch([0, 1], views=[[0, 1], [1, 2]])


@torch.no_grad()
def run(model: FusedModel, batch: Batch, references: References | None = None) -> torch.Tensor:
    return model.velocity(batch.latents, torch.tensor([0.3, 0.8]), batch, references=references)


def test_no_references_change_nothing(fused: Fused, batch: Batch) -> None:
    model = fused(heard=True)
    without = run(model, batch)
    assert torch.equal(run(model, batch, References(batch.references[:, :0])), without)
    assert not torch.equal(run(model, batch, References(batch.references)), without)
    assert torch.equal(run(model, batch), without)


@pytest.mark.parametrize("trainable", ["adapter", "adapter_and_lora"])
def test_fresh_references_leave_the_base_as_it_is(base: Base, fused: Fused, batch: Batch, trainable: str) -> None:
    sigma = torch.tensor([0.3, 0.8])
    timestep = token_timesteps(sigma, batch.latents, (1, 2, 2))
    with torch.no_grad():
        untouched = base.transformer(batch.latents, timestep, batch.text, return_dict=False)[0]
    model = fused(trainable=trainable)
    assert torch.equal(run(model, batch, References(batch.references)), untouched)
    velocity = model.velocity(batch.latents, sigma, batch, references=References(batch.references))
    velocity.square().mean().backward()
    for block in range(2):  # and yet they learn to be read
        assert model.fusion.reference_reader(block).up.weight.grad.abs().max() > 0


def test_the_way_of_the_video_stays_as_it_was(fused: Fused, base: Base, batch: Batch) -> None:
    """Read or not, what reaches the first block for the video does not change."""
    model = fused(heard=True)
    seen: list[tuple[torch.Tensor, ...]] = []

    def note(_module: torch.nn.Module, args: tuple) -> None:
        hidden, context, modulation, positions = args
        if isinstance(context, FaceContext):
            rotary = positions.rotary if isinstance(positions, VideoPositions) else positions
            seen.append((hidden, context.text, context.face.experts, context.time, modulation, *rotary))

    base.transformer.blocks[0].register_forward_pre_hook(note)
    run(model, batch)
    run(model, batch, References(batch.references))
    plain, referenced = seen
    assert all(torch.equal(before, after) for before, after in zip(plain, referenced, strict=True))


def test_references_are_clean_whatever_the_noise_of_the_video(fused: Fused, base: Base, batch: Batch) -> None:
    model = fused()
    entering: list[torch.Tensor] = []
    block = base.transformer.blocks[0]
    block.register_forward_pre_hook(lambda _module, args: entering.append(args[2]))
    run(model, batch, References(batch.references))
    clean = base.transformer.condition_embedder.forward(torch.zeros(2), batch.text)[1].unflatten(1, (6, -1))
    torch.testing.assert_close(entering[0], clean)
    assert entering[1].shape == (2, 12, 6, 192)  # the video's, a token each


def test_positions_are_all_distinct_at_one_time_that_no_frame_has(base: Base) -> None:
    rope = base.transformer.rope
    views = References(torch.zeros(1, 3, 48, 4, 4))
    video, added = rope(torch.zeros(VIDEO)), reference_positions(views, rope, (3, 2, 2))
    assert [part.shape for part in added] == [(1, 12, 1, 48)] * 2
    both = torch.cat([torch.cat([a, b], dim=1)[0, :, 0] for a, b in zip(video, added, strict=True)], dim=-1)
    assert len(torch.unique(both.double().round(decimals=6), dim=0)) == 12 + 12
    time = slice(0, rope.t_dim)
    times = added[0][0, :, 0, time]
    assert (times == times[0]).all()
    assert not (video[0][0, :, 0, time] == times[0]).all(dim=1).any()


def test_views_are_shifted_by_whole_grids_in_height_and_width(base: Base) -> None:
    rope = base.transformer.rope
    cosines = reference_positions(References(torch.zeros(1, 2, 48, 4, 6)), rope, (3, 2, 2))[0][0, :, 0]
    _, heights, widths = cosines.split([rope.t_dim, rope.h_dim, rope.w_dim], dim=1)
    _, all_heights, all_widths = rope.freqs_cos.split([rope.t_dim, rope.h_dim, rope.w_dim], dim=1)
    rows = [(all_heights == row).all(dim=1).nonzero()[0].item() for row in heights]
    columns = [(all_widths == column).all(dim=1).nonzero()[0].item() for column in widths]
    assert list(zip(rows, columns, strict=True)) == [
        (2 + 2 * view + row, 2 + 3 * view + column) for view in range(2) for row in range(2) for column in range(3)
    ]


def test_one_time_a_view_where_the_config_says_so(base: Base) -> None:
    rope = base.transformer.rope
    cosines = reference_positions(References(torch.zeros(1, 3, 48, 4, 4)), rope, (3, 2, 2), "one_a_view")[0][0, :, 0]
    times = cosines.split([rope.t_dim, rope.h_dim, rope.w_dim], dim=1)[0]
    table = rope.freqs_cos.split([rope.t_dim, rope.h_dim, rope.w_dim], dim=1)[0]
    assert torch.equal(times, table[[4, 5, 6]].repeat_interleave(4, dim=0))


def test_drawing_shows_as_much_as_training_and_other_places_at_every_step() -> None:
    views = References(torch.zeros(1, 2, 48, 10, 10))
    shown = [views.at_step(timestep, 0.6, (1, 2, 2)).visible for timestep in (1000.0, 900.0, 800.0, 900.0)]
    assert all(torch.equal(torch.bincount(row[0] // 25), torch.tensor([10, 10])) for row in shown)
    assert torch.equal(shown[1], shown[3])
    assert not torch.equal(shown[0], shown[1])
    assert torch.equal(views.at_step(1000.0, 0.0, (1, 2, 2)).visible, torch.arange(50)[None])


def test_too_many_views_for_the_bases_positions_are_refused(base: Base) -> None:
    with pytest.raises(ValueError, match="need 130 positions, the base has 128"):
        reference_positions(References(torch.zeros(1, 64, 48, 4, 4)), base.transformer.rope, (3, 2, 2))


def test_an_adapter_made_without_them_refuses_references(fused: Fused, batch: Batch) -> None:
    model = fused(references=None)
    with pytest.raises(ValueError, match="made without references"):
        run(model, batch, References(batch.references))


@pytest.mark.parametrize(("share", "kept"), [(0.0, 10), (0.6, 4), (0.99, 1)])
def test_a_mask_keeps_its_share_of_every_view_and_never_nothing(share: float, kept: int) -> None:
    visible = region_mask(torch.zeros(4, 3, 1, 4, 10), (1, 2, 2), share, torch.Generator().manual_seed(0))
    assert visible.shape == (4, 3 * kept)
    for row in visible:
        assert len(set(row.tolist())) == 3 * kept
        assert torch.equal(torch.bincount(row // 10, minlength=3), torch.full((3,), kept))
    if share == 0.6:
        assert len({tuple(row.tolist()) for row in visible}) > 1


def test_hidden_tokens_are_not_seen_and_visible_ones_keep_their_positions(fused: Fused, base: Base, batch: Batch) -> None:
    model = fused(heard=True)
    visible = torch.tensor([[0, 3, 5], [1, 2, 7]])
    masked = run(model, batch, References(batch.references, visible))
    hidden = batch.references.clone()
    hidden[0, 0, :, :2, 2:] += 5  # token 1 of the first clip's first view
    assert torch.equal(run(model, batch, References(hidden, visible)), masked)
    shown = batch.references.clone()
    shown[0, 0, :, :2, :2] += 5  # token 0
    assert not torch.equal(run(model, batch, References(shown, visible)), masked)
    whole = reference_positions(References(batch.references), base.transformer.rope, (3, 2, 2))
    some = reference_positions(References(batch.references, visible), base.transformer.rope, (3, 2, 2))
    for table, part in zip(whole, some, strict=True):
        assert torch.equal(part[1], table[0][visible[1]])


def test_dropped_references_show_nobody_and_only_where_dropped(fused: Fused, batch: Batch) -> None:
    model = fused(heard=True)
    dropped = References(batch.references, keep=torch.tensor([True, False]))
    other = dropped._replace(latents=torch.stack([batch.references[0], -batch.references[1]]))
    assert torch.equal(run(model, batch, dropped), run(model, batch, other))
    torch.testing.assert_close(run(model, batch, dropped)[0], run(model, batch, References(batch.references))[0])
    torch.testing.assert_close(run(model, batch, dropped)[1], run(model, batch, References(batch.references).null())[1])


def test_an_image_to_video_base_is_given_a_view_as_a_known_frame(features: FaceFeatures, quick: Callable[..., Preset]) -> None:
    """Latents, a mask of ones, latents: as diffusers' pipeline gives the first frame. Its 257 image rows and 512 text rows,
    the one timestep a clip and the base's output without ours stay as they are."""
    torch.manual_seed(0)
    wan = {"num_attention_heads": 4, "attention_head_dim": 48, "ffn_dim": 96, "num_layers": 2, "freq_dim": 32}
    transformer = WanTransformer3DModel(
        **wan, in_channels=100, out_channels=48, text_dim=64, image_dim=32, added_kv_proj_dim=192, rope_max_seq_len=64
    ).eval()
    inputs = {
        "hidden_states": torch.randn(2, 100, 3, 4, 4),
        "timestep": torch.tensor([300.0, 800.0]),
        "encoder_hidden_states": torch.randn(2, 512, 64),
        "encoder_hidden_states_image": torch.randn(2, 257, 32),
        "return_dict": False,
    }
    embedded: list[torch.Tensor] = []
    with torch.no_grad():
        expected = transformer(**inputs)[0]
        fusion = FaceFusion.for_transformer(transformer, features, quick().fusion)
        attach(fusion, transformer)
        face, views = fusion(features), torch.randn(2, 1, 48, 4, 4)
        transformer.blocks[0].register_forward_pre_hook(lambda _module, args: embedded.append(args[0]))
        given = {FACE: face, REFERENCES: References(views)}
        assert torch.equal(transformer(**inputs, attention_kwargs=given)[0], expected)
        frame = torch.cat([views[:, 0], torch.ones(2, 4, 4, 4), views[:, 0]], dim=1)[:, :, None]
        as_frame = transformer.patch_embedding.forward(frame).flatten(2).transpose(1, 2)
        hear(fusion)
        assert not torch.equal(transformer(**inputs, attention_kwargs=given)[0], expected)
    torch.testing.assert_close(embedded[0], as_frame)


def test_latents_of_another_vae_are_refused(fused: Fused, batch: Batch) -> None:
    with pytest.raises(ValueError, match="references have 40 channels, the base takes 48"):
        run(fused(), batch, References(torch.zeros(2, 1, 40, 4, 4)))


def test_timesteps_are_the_callers_own_again(fused: Fused, batch: Batch) -> None:
    model = fused()
    timesteps = token_timesteps(torch.tensor([0.3, 0.8]), batch.latents, (1, 2, 2))
    before = timesteps.clone()
    kwargs = {FACE: model.fusion(batch.face), REFERENCES: References(batch.references)}
    inputs = {"hidden_states": batch.latents, "timestep": timesteps, "encoder_hidden_states": batch.text}
    model.base.transformer(**inputs, attention_kwargs=kwargs)
    assert torch.equal(timesteps, before)
    assert set(kwargs) == {FACE, REFERENCES}
