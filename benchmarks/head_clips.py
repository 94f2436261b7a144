"""Clips of turning heads as the tensors that the models of `benchmarks.ablation` train on and are judged with.

A clip is three frames of one head that turns evenly between two random yaws while its expression changes evenly between two
random ones; the text gives both and nothing else. Beside it lie six views (photos) of the same head, each in a pose,
expression and light of its own, their yaws spread over the range. Any of them can be the photo that conditions the video, so
frames show the person in other poses than the photo and copying it cannot answer.

Belongs here: heads -> latents, text rows, features, views, and which views are shown beside a photo. Not here: the drawing
(`heads`), the models (`head_models`).
"""

from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from benchmarks.head_identity import IdentityEncoder
from benchmarks.head_judge import to_pixels
from benchmarks.heads import EXPRESSION, MAX_YAW_DEG, SIDE_PX, Array, draw_expressions, draw_identities, draw_nuisances, render
from model.encoding.face_features import FaceFeatures
from model.face_engine.view_spread import farthest_first

FRAMES = 3
VIEWS = 6
TEXT_WIDTH = 32
Spread = Literal["pose", "expression", "repeated"]
"""Which views are shown beside a photo: the most different in yaw, those in expression, or the photo itself again."""

LATENT_CHANNELS = 24
"""Half of what a patch has: with 16, as many as Wan2.1 has, the judge reads eyes and teeth less well in real frames."""

_HARMONICS = 4
_PATCH_PX = 4
_BASIS_HEADS = 400


class HeadClips(NamedTuple):
    """N clips; every person is in one of them."""

    latents: torch.Tensor  # (N, C, T, h, w)
    text: torch.Tensor  # (N, T, D)
    yaw_deg: torch.Tensor  # (N, T)
    expressions: torch.Tensor  # (N, T, 3)
    view_identity: torch.Tensor  # (N, V, 9)
    view_semantic: torch.Tensor  # (N, V, S, D_s)
    view_latents: torch.Tensor  # (N, V, C, h, w)
    view_angles_deg: torch.Tensor  # (N, V, 3)
    view_expressions: torch.Tensor  # (N, V, 3)
    identities: torch.Tensor  # (N, 18)

    def face(self, persons: torch.Tensor, views: torch.Tensor) -> FaceFeatures:
        """What the encoders say of view `views` (B,) of each of `persons` (B,)."""
        return FaceFeatures(
            identity=self.view_identity[persons, views],
            semantic=self.view_semantic[persons, views],
            detail=self.view_latents[persons, views].flatten(2).transpose(1, 2),
            angles_deg=self.view_angles_deg[persons, views],
        )

    def photo(self) -> FaceFeatures:
        """The first view of everyone: the photo that a judged clip is drawn from; its yaw is as random as any."""
        persons = torch.arange(len(self.latents))
        return self.face(persons, torch.zeros_like(persons))


def make_clips(count: int, seed: int, encoder: IdentityEncoder) -> HeadClips:
    """Clips of `count` persons; `encoder` speaks for the identity and the semantic expert."""
    rng = np.random.default_rng((seed, 3))
    identities = draw_identities(count, rng)
    yaws = _evenly(rng.uniform(-MAX_YAW_DEG, MAX_YAW_DEG, (2, count)).astype(np.float32))
    expressions = _evenly(draw_expressions((2, count), rng))
    frames = _render_rows(identities, yaws, expressions, np.repeat(draw_nuisances(count, rng)[:, None], FRAMES, axis=1))
    view_yaws = _spread_yaws(count, rng)
    view_expressions = draw_expressions((count, VIEWS), rng)
    views = _render_rows(identities, view_yaws, view_expressions, draw_nuisances(count * VIEWS, rng).reshape(count, VIEWS, -1))
    flat = views.reshape(-1, SIDE_PX, SIDE_PX, 3)
    return HeadClips(
        latents=encode(frames),
        text=text_rows(torch.from_numpy(yaws), torch.from_numpy(expressions)),
        yaw_deg=torch.from_numpy(yaws),
        expressions=torch.from_numpy(expressions),
        view_identity=encoder.embed(flat, view_yaws.ravel(), rng).unflatten(0, (count, VIEWS)),
        view_semantic=encoder.network.patches(flat).unflatten(0, (count, VIEWS)),
        view_latents=encode(views).transpose(1, 2).contiguous(),
        view_angles_deg=F.pad(torch.from_numpy(view_yaws)[..., None], (0, 2)),
        view_expressions=torch.from_numpy(view_expressions),
        identities=torch.from_numpy(identities),
    )


def spread_views(clips: HeadClips, spread: Spread, count: int) -> torch.Tensor:
    """(N, V, count): which `count` views are shown beside each photo."""
    persons, views = clips.view_angles_deg.shape[:2]
    if spread == "repeated":
        return torch.arange(views)[None, :, None].expand(persons, -1, count)
    places = clips.view_angles_deg[..., :1] if spread == "pose" else clips.view_expressions
    gaps = torch.cdist(places, places).double().numpy()
    chosen = [
        [farthest_first(gaps[person], [photo], count + 1, np.zeros(views), step=0.0)[1:] for photo in range(views)]
        for person in range(persons)
    ]
    return torch.tensor(chosen)


def text_rows(yaw_deg: torch.Tensor, expressions: torch.Tensor, identities: torch.Tensor | None = None) -> torch.Tensor:
    """(N, T), (N, T, 3) and (N, 18) to (N, T, 32): which frame, how the head stands in it, what its face does, and who it is.

    Without `identities` the text says nothing of the person.
    """
    turns = torch.deg2rad(yaw_deg)[..., None] * torch.arange(1, _HARMONICS + 1)
    frame = 2 * torch.eye(FRAMES).expand(len(yaw_deg), -1, -1)
    rows = torch.cat([turns.sin(), turns.cos(), frame, expressions], dim=-1)
    rows = F.pad(rows, (0, TEXT_WIDTH - rows.shape[-1]))
    if identities is not None:
        rows[..., -identities.shape[-1] :] = identities[:, None]
    return rows


class Basis(NamedTuple):
    """A linear autoencoder of patches of 4 x 4 px: their mean and main directions, the larger ones at a larger scale."""

    mean: torch.Tensor  # (48,)
    directions: torch.Tensor  # (24, 48) orthonormal
    scale: torch.Tensor  # (24,) by which a direction's coordinate becomes a latent


@lru_cache(maxsize=1)
def basis() -> Basis:
    """Of drawn heads. Latents have variance 1 on average; the spread between channels is the root of what pixels have."""
    rng = np.random.default_rng(11)
    yaws = rng.uniform(-MAX_YAW_DEG, MAX_YAW_DEG, _BASIS_HEADS).astype(np.float32)
    expressions, nuisances = draw_expressions((_BASIS_HEADS,), rng), draw_nuisances(_BASIS_HEADS, rng)
    heads = render(draw_identities(_BASIS_HEADS, rng), yaws, expressions, nuisances)
    patches = _patches(to_pixels(heads)).flatten(0, 2)
    mean = patches.mean(dim=0)
    variances, vectors = torch.linalg.eigh((patches - mean).T.double() @ (patches - mean).double() / len(patches))
    directions = vectors.T.flip(0)[:LATENT_CHANNELS]
    largest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
    spread = variances.flip(0)[:LATENT_CHANNELS].sqrt()
    return Basis(mean, (directions * largest.sign()).float(), (spread.rsqrt() / spread.mean().sqrt()).float())


def decode(latents: torch.Tensor) -> NDArray[np.uint8]:
    """(N, C, T, h, w) to frames (N, T, H, W, 3)."""
    mean, directions, scale = basis()
    patches = (latents.permute(0, 2, 3, 4, 1) / scale) @ directions + mean  # (N, T, h, w, 48)
    pixels = patches.unflatten(-1, (_PATCH_PX, _PATCH_PX, 3)).permute(0, 1, 2, 4, 3, 5, 6).flatten(4, 5).flatten(2, 3)
    return ((pixels.clamp(-1, 1) + 1) * 127.5).round().byte().numpy()


def portraits(identities: Array, count: int, seed: int) -> NDArray[np.uint8]:
    """(N, count, H, W, 3): each person in `count` random poses, expressions and lights, for the judge to know them by."""
    rng = np.random.default_rng((seed, 4))
    yaws = rng.uniform(-MAX_YAW_DEG, MAX_YAW_DEG, (len(identities), count)).astype(np.float32)
    nuisances = draw_nuisances(yaws.size, rng).reshape(*yaws.shape, -1)
    return _render_rows(identities, yaws, draw_expressions(yaws.shape, rng), nuisances)


def _evenly(ends: Array) -> Array:
    """(2, N, ...) first and last values to (N, T, ...)."""
    share = np.linspace(0, 1, FRAMES, dtype=np.float32).reshape(-1, *(1 for _ in ends.shape[1:]))
    return np.moveaxis(ends[0] * (1 - share) + ends[1] * share, 0, 1)


def _spread_yaws(count: int, rng: np.random.Generator) -> Array:
    """(count, V): one yaw in each sixth of the range, in random order."""
    sixths = rng.permuted(np.tile(np.arange(VIEWS), (count, 1)), axis=1)
    return (-MAX_YAW_DEG + 2 * MAX_YAW_DEG * (sixths + rng.uniform(0, 1, sixths.shape)) / VIEWS).astype(np.float32)


def _render_rows(identities: Array, yaws: Array, expressions: Array, nuisances: Array) -> NDArray[np.uint8]:
    """(N, M) yaws, (N, M, 3) expressions and (N, M, 7) nuisances to (N, M, H, W, 3)."""
    drawn = render(
        np.repeat(identities, yaws.shape[1], axis=0),
        yaws.ravel(),
        expressions.reshape(yaws.size, len(EXPRESSION)),
        nuisances.reshape(yaws.size, -1),
    )
    return drawn.reshape(*yaws.shape, SIDE_PX, SIDE_PX, 3)


def encode(images: NDArray[np.uint8]) -> torch.Tensor:
    """(N, T, H, W, 3) to (N, C, T, h, w)."""
    mean, directions, scale = basis()
    flat = to_pixels(images.reshape(-1, *images.shape[2:]))
    latents = ((_patches(flat) - mean) @ directions.T) * scale  # (N * T, h, w, C)
    return latents.unflatten(0, images.shape[:2]).permute(0, 4, 1, 2, 3).contiguous()


def _patches(pixels: torch.Tensor) -> torch.Tensor:
    """(N, 3, H, W) to (N, h, w, 48)."""
    cut = pixels.unflatten(3, (-1, _PATCH_PX)).unflatten(2, (-1, _PATCH_PX))  # (N, 3, h, p, w, q)
    return cut.permute(0, 2, 4, 3, 5, 1).flatten(3)
