"""Two small networks that recognise drawn heads: one conditions the models of `benchmarks.ablation`, the other judges them.

Both learn to read the traits off a picture in any pose, expression and light; they differ in width, seed and training heads,
as the face engine that conditions a model should not be the one that scores it. An embedding is the predicted traits, centred
by construction and scaled to unit length, so unrelated heads have similarity about 0. A trait that the picture does not show
is predicted as its mean, 0.

Belongs here: the networks, their training, and the evidence that they tell identity apart from pose. Not here: the heads
(`benchmarks.heads`), what an identity network keeps of it (`benchmarks.head_identity`), the models that are judged
(`benchmarks.ablation`).
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import nn

from benchmarks.heads import MAX_YAW_DEG, TRAITS, draw_expressions, draw_identities, draw_nuisances, render
from model.files import whole_file

_HEADS = 6000
_EPOCHS = 12
_BATCH = 100
_PAIRS = 400


class Recogniser(nn.Module):
    """(N, 3, 16, 16) in [-1, 1] to traits; its last feature map doubles as what the semantic expert reads."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(3, width, 3, 1, 1), nn.GELU()),
            *(nn.Conv2d(width, 2 * width, 3, 2, 1), nn.GELU()),
            *(nn.Conv2d(2 * width, 2 * width, 3, 2, 1), nn.GELU()),
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(2 * width * 16, 128), nn.GELU(), nn.Linear(128, len(TRAITS)))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(pixels))

    @torch.no_grad()
    def traits(self, images: NDArray[np.uint8]) -> torch.Tensor:
        """(N, 16, 16, 3) to (N, 18) traits, as `heads` orders them."""
        return torch.cat([self(part) for part in to_pixels(images).split(256)])

    def embed(self, images: NDArray[np.uint8]) -> torch.Tensor:
        """(N, 16, 16, 3) to (N, 18) of unit length."""
        return F.normalize(self.traits(images), dim=-1)

    @torch.no_grad()
    def patches(self, images: NDArray[np.uint8]) -> torch.Tensor:
        """(N, 16, 16, 3) to the feature map as (N, 16, 2 * width) tokens."""
        maps = torch.cat([self.features(part) for part in to_pixels(images).split(256)])
        return maps.flatten(2).transpose(1, 2)


class Validity(NamedTuple):
    """Evidence on heads that the network never saw, in two independent poses and lights."""

    same: float
    """Mean similarity of one head with itself."""
    different: float
    """Mean similarity of two heads."""
    auc: float
    """Chance that a pair of one head is more similar than a pair of two."""
    same_far: float
    """`same` where the two poses lie more than 60 degrees apart."""
    auc_far: float


def to_pixels(images: NDArray[np.uint8]) -> torch.Tensor:
    """(..., H, W, 3) uint8 to (..., 3, H, W) in [-1, 1]."""
    return torch.from_numpy(images).movedim(-1, -3).float() / 127.5 - 1


def recogniser(path: Path, width: int, seed: int) -> Recogniser:
    """The network in `path`, trained and written first where there is none; frozen."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Recogniser(width)
        if path.is_file():
            network.load_state_dict(load_file(path))
        else:
            _train(network, np.random.default_rng((seed, 1)))
            with whole_file(path) as temporary:
                save_file(network.state_dict(), temporary)
    return network.eval().requires_grad_(False)


def validity(network: Recogniser, seed: int = 0) -> Validity:
    """How well `network` tells 400 unseen heads apart."""
    rng = np.random.default_rng((seed, 2))
    identities = draw_identities(_PAIRS, rng)
    yaws = rng.uniform(-MAX_YAW_DEG, MAX_YAW_DEG, (2, _PAIRS)).astype(np.float32)
    expressions = draw_expressions((2, _PAIRS), rng)
    first, second = (
        network.embed(render(identities, yaw, expression, draw_nuisances(_PAIRS, rng)))
        for yaw, expression in zip(yaws, expressions, strict=True)
    )
    similarity = (first @ second.T).numpy()
    same, different = similarity.diagonal(), similarity[~np.eye(_PAIRS, dtype=bool)]
    far = same[np.abs(yaws[0] - yaws[1]) > 60]
    return Validity(
        same=float(same.mean()),
        different=float(different.mean()),
        auc=_auc(same, different),
        same_far=float(far.mean()),
        auc_far=_auc(far, different),
    )


def _train(network: Recogniser, rng: np.random.Generator) -> None:
    identities = draw_identities(_HEADS, rng)
    yaws = rng.uniform(-MAX_YAW_DEG, MAX_YAW_DEG, _HEADS).astype(np.float32)
    pixels = to_pixels(render(identities, yaws, draw_expressions((_HEADS,), rng), draw_nuisances(_HEADS, rng)))
    traits = torch.from_numpy(identities)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    steps = _EPOCHS * _HEADS // _BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for _ in range(_EPOCHS):
        for chosen in torch.from_numpy(rng.permutation(_HEADS)).split(_BATCH):
            loss = F.mse_loss(network(pixels[chosen]), traits[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def _auc(positive: NDArray[np.float32], negative: NDArray[np.float32]) -> float:
    ranked = np.sort(negative)
    return float(np.searchsorted(ranked, positive).mean() / len(ranked))
