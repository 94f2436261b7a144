"""Clips of turning heads as the tensors that the models of `benchmarks.ablation` train on and are judged with.

A clip is three frames of one head that turns evenly between two random yaws; the text gives the yaws and nothing else. Beside
it lie three views (photos) of the same head, each in a pose and light of its own. The first is the photo that conditions the
video, so the frames show the person in other poses than the photo and copying it cannot answer.

Belongs here: heads -> latents, text rows, features, views. Not here: the drawing (`heads`), the models (`head_models`).
"""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from benchmarks.head_judge import MAX_YAW_DEG, Recogniser, to_pixels
from benchmarks.heads import SIDE_PX, draw_identities, draw_nuisances, render
from model.bases.codec import HaarCodec, encode_moments
from model.encoding.face_features import FaceFeatures

FRAMES = 3
VIEWS = 3
TEXT_WIDTH = 64
_HARMONICS = 4
# Spread of the Haar bands of these heads (pixels in [-1, 1]), as `codec` has it for photographs.
_BAND_STD = (
    *(1.26, 0.43, 0.22, 0.19),
    *(0.43, 0.24, 0.13, 0.13),
    *(0.22, 0.13, 0.07, 0.09),
    *(0.19, 0.13, 0.09, 0.11),
)


class HeadClips(NamedTuple):
    """N clips; every person is in one of them."""

    latents: torch.Tensor  # (N, C, T, h, w)
    text: torch.Tensor  # (N, T, D)
    yaw_deg: torch.Tensor  # (N, T)
    face: FaceFeatures  # of the first view
    view_latents: torch.Tensor  # (N, V, C, h, w)
    view_semantic: torch.Tensor  # (N, V, S, D_s)
    view_angles_deg: torch.Tensor  # (N, V, 3)
    identities: torch.Tensor  # (N, 16)


def codec() -> HaarCodec:
    """The codec on the scale of these heads."""
    return HaarCodec(latents_std=_BAND_STD * 3)


def make_clips(count: int, seed: int, encoder: Recogniser) -> HeadClips:
    """Clips of `count` persons; `encoder` speaks for the identity and the semantic expert."""
    rng = np.random.default_rng((seed, 3))
    identities = draw_identities(count, rng)
    ends = rng.uniform(-MAX_YAW_DEG, MAX_YAW_DEG, (2, count, 1))
    share = np.linspace(0, 1, FRAMES)
    yaws = (ends[0] * (1 - share) + ends[1] * share).astype(np.float32)
    frames = _render_rows(identities, yaws, np.repeat(draw_nuisances(count, rng)[:, None], FRAMES, axis=1))
    view_yaws = rng.uniform(-MAX_YAW_DEG, MAX_YAW_DEG, (count, VIEWS)).astype(np.float32)
    views = _render_rows(identities, view_yaws, draw_nuisances(count * VIEWS, rng).reshape(count, VIEWS, -1))
    flat = views.reshape(-1, SIDE_PX, SIDE_PX, 3)
    view_latents = _encode(views).transpose(1, 2)
    semantic = encoder.patches(flat).unflatten(0, (count, VIEWS))
    angles = F.pad(torch.from_numpy(view_yaws)[..., None], (0, 2))
    return HeadClips(
        latents=_encode(frames),
        text=text_rows(torch.from_numpy(yaws)),
        yaw_deg=torch.from_numpy(yaws),
        face=FaceFeatures(
            identity=encoder.embed(views[:, 0]),
            semantic=semantic[:, 0],
            detail=view_latents[:, 0].flatten(2).transpose(1, 2),
            angles_deg=angles[:, 0],
        ),
        view_latents=view_latents,
        view_semantic=semantic,
        view_angles_deg=angles,
        identities=torch.from_numpy(identities),
    )


def text_rows(yaw_deg: torch.Tensor) -> torch.Tensor:
    """(N, T) to (N, T, 64): which frame, and how the head stands in it."""
    turns = torch.deg2rad(yaw_deg)[..., None] * torch.arange(1, _HARMONICS + 1)
    frame = 2 * torch.eye(FRAMES).expand(len(yaw_deg), -1, -1)
    rows = torch.cat([turns.sin(), turns.cos(), frame], dim=-1)
    return F.pad(rows, (0, TEXT_WIDTH - rows.shape[-1]))


@torch.no_grad()
def decode(latents: torch.Tensor) -> NDArray[np.uint8]:
    """(N, C, T, h, w) to frames (N, T, H, W, 3)."""
    haar = codec()
    mean, std = (torch.tensor(v).view(1, -1, 1, 1, 1) for v in (haar.config.latents_mean, haar.config.latents_std))
    pixels = haar.decode(latents * std + mean).sample
    return ((pixels + 1) * 127.5).round().byte().permute(0, 2, 3, 4, 1).numpy()


def portraits(identities: NDArray[np.float32], count: int, seed: int) -> NDArray[np.uint8]:
    """(N, count, H, W, 3): each person in `count` random poses and lights, for the judge to know them by."""
    rng = np.random.default_rng((seed, 4))
    yaws = rng.uniform(-MAX_YAW_DEG, MAX_YAW_DEG, (len(identities), count)).astype(np.float32)
    return _render_rows(identities, yaws, draw_nuisances(yaws.size, rng).reshape(*yaws.shape, -1))


def _render_rows(identities: NDArray[np.float32], yaws: NDArray[np.float32], nuisances: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(N, M) yaws and (N, M, 7) nuisances to (N, M, H, W, 3)."""
    drawn = render(np.repeat(identities, yaws.shape[1], axis=0), yaws.ravel(), nuisances.reshape(yaws.size, -1))
    return drawn.reshape(*yaws.shape, SIDE_PX, SIDE_PX, 3)


@torch.no_grad()
def _encode(images: NDArray[np.uint8]) -> torch.Tensor:
    """(N, T, H, W, 3) to (N, C, T, h, w)."""
    haar = codec()
    return encode_moments(haar, to_pixels(images).transpose(1, 2)).mean
