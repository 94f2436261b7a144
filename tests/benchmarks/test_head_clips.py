"""Clips of drawn heads: photo and video share the person alone, and views are chosen as named."""

import numpy as np
import pytest
import torch

from benchmarks.head_clips import FRAMES, LATENT_CHANNELS, VIEWS, HeadClips, decode, encode, make_clips, spread_views, text_rows
from benchmarks.head_identity import IdentityEncoder
from benchmarks.head_judge import Recogniser
from benchmarks.head_scores import gap_means
from benchmarks.heads import draw_expressions, draw_identities, draw_nuisances, render


@pytest.fixture(scope="module")
def encoder() -> IdentityEncoder:
    torch.manual_seed(0)
    return IdentityEncoder(Recogniser(4).eval().requires_grad_(False))


@pytest.fixture(scope="module")
def clips(encoder: IdentityEncoder) -> HeadClips:
    return make_clips(40, 5, encoder)


def test_photo_and_video_share_the_person_alone(clips: HeadClips, encoder: IdentityEncoder) -> None:
    assert clips.latents.shape == (40, LATENT_CHANNELS, FRAMES, 4, 4)
    assert clips.view_latents.shape == (40, VIEWS, LATENT_CHANNELS, 4, 4)
    assert torch.equal(clips.photo().detail, clips.view_latents[:, 0].flatten(2).transpose(1, 2))
    frames, photos = decode(clips.latents), decode(clips.view_latents.transpose(1, 2))
    shirt = np.abs(frames[:, 0, -1, 8].astype(int) - photos[:, 0, -1, 8]).mean()
    assert shirt > 30, "another shirt in the photo"
    assert np.abs(frames[:, 0, -1, 8].astype(int) - frames[:, 2, -1, 8]).max() < 10, "one shirt in a video"
    assert torch.equal(clips.text, text_rows(clips.yaw_deg, clips.expressions)), "the text tells pose and expression alone"
    described = text_rows(clips.yaw_deg, clips.expressions, clips.identities)
    assert torch.equal(described[..., :-18], clips.text[..., :-18])
    assert (clips.text[..., -18:] == 0).all(), "nor does it hold anything where a person would be described"
    again = make_clips(40, 5, encoder)
    assert all(torch.equal(one, other) for one, other in zip(clips, again, strict=True))
    assert not (make_clips(40, 6, encoder).identities[:, None] == clips.identities[None]).all(dim=-1).any()


def test_the_photo_is_in_any_pose_and_the_views_span_them_all(clips: HeadClips) -> None:
    yaws = clips.view_angles_deg[..., 0]
    assert (yaws[:, 0].abs() > 50).float().mean() > 0.15
    assert (yaws.sort(dim=1).values - torch.linspace(-62.5, 62.5, VIEWS)).abs().max() <= 12.5


def test_views_are_spread_as_named(clips: HeadClips) -> None:
    yaws, expressions = clips.view_angles_deg[..., 0], clips.view_expressions
    pose, expression, repeated = (spread_views(clips, spread, 2)[:, 0] for spread in ("pose", "expression", "repeated"))
    assert torch.equal(pose[:, 0], (yaws - yaws[:, :1]).abs().argmax(dim=1))
    assert torch.equal(expression[:, 0], (expressions - expressions[:, :1]).norm(dim=2).argmax(dim=1))
    assert (repeated == 0).all()
    for chosen in (pose, expression):
        assert (chosen != 0).all()
        assert (chosen[:, 0] != chosen[:, 1]).all()
    assert not torch.equal(pose, expression)


def test_similarity_falls_into_its_gap() -> None:
    similarity, gap = np.array([[0.9, 0.5], [0.1, 0.3]]), np.array([[0.0, 30.0], [149.0, 59.9]])
    assert gap_means(similarity, gap) == pytest.approx([0.9, 0.4, 0.1])


def test_the_codec_keeps_what_is_drawn() -> None:
    """Latents hold half the numbers of the pixels, on the scale that noise has; frames made of them are those that were drawn."""
    rng = np.random.default_rng(0)
    yaws, expressions = rng.uniform(-75, 75, 30).astype(np.float32), draw_expressions((30,), rng)
    heads = render(draw_identities(30, rng), yaws, expressions, draw_nuisances(30, rng))[:, None]
    latents = encode(heads)
    assert float(latents.std()) == pytest.approx(1.0, abs=0.3)
    assert np.abs(decode(latents).astype(float) - heads).mean() < 6
