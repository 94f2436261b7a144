"""What an identity network says of a drawn head: of the face alone, and less the further the head is turned away.

A network that reads 16 px heads hardly minds the pose (of one face, frontal and turned: 0.87 at 5 degrees, 0.80 at 70); ArcFace
on photographs does. So its embedding is blurred until one person, frontal and turned, is as similar as ArcFace says of real
persons. What ArcFace's crop does not hold (hair, marks beside the face, teeth) the embedding does not hold either, and what the
photo does not show cannot be read off it: it is computed from the photo's pixels.

Belongs here: ArcFace's figures and the blur. Not here: how they were measured (`benchmarks.yaw_similarity`), the network
(`benchmarks.head_judge`).
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from benchmarks.head_judge import Recogniser
from benchmarks.heads import FACE_TRAITS, Array, draw_expressions, draw_identities, draw_nuisances, render

ARCFACE_YAWS_DEG = (5.0, 15.0, 25.0, 35.0, 45.0, 55.0, 70.0)
ARCFACE_SIMILARITY = (0.82, 0.75, 0.66, 0.63, 0.62, 0.60, 0.53)
"""Mean cosine of one person's embeddings so many degrees of yaw apart, in one light: `python -m benchmarks.yaw_similarity`.

SCRFD 2.5G, ArcFace MobileFaceNet (foamliu) and FSA-Net on eight clips of ../shared/testdata that show one person each, mean over
clips; two persons: 0.00.
"""

_HEADS = 300


class IdentityEncoder:
    """Photos of drawn heads to unit vectors (N, 9) that are as similar over yaw as ArcFace's."""

    def __init__(self, network: Recogniser) -> None:
        self.network = network
        rng = np.random.default_rng(7)
        identities = draw_identities(_HEADS, rng)
        frontal, *turned = (self._clear(_portraits(identities, yaw_deg, rng)) for yaw_deg in (0.0, *ARCFACE_YAWS_DEG))
        clear = np.array([float((frontal * one).sum(dim=-1).mean()) for one in turned])
        shares = np.array(ARCFACE_SIMILARITY) / clear
        # A frontal view is blurred as much as another one of about the same pose.
        self._shares = np.minimum(shares / np.sqrt(shares[0]), 1.0)

    def embed(self, images: NDArray[np.uint8], yaw_deg: Array, rng: np.random.Generator) -> torch.Tensor:
        """(N, 16, 16, 3) in these yaws (N,) to (N, 9) of unit length."""
        clear = self._clear(images)
        noise = torch.from_numpy(rng.standard_normal(clear.shape).astype(np.float32))
        across = F.normalize(noise - (noise * clear).sum(dim=-1, keepdim=True) * clear, dim=-1)
        share = torch.from_numpy(np.interp(np.abs(yaw_deg), ARCFACE_YAWS_DEG, self._shares).astype(np.float32))[:, None]
        return share * clear + (1 - share.square()).sqrt() * across

    def _clear(self, images: NDArray[np.uint8]) -> torch.Tensor:
        return F.normalize(self.network.traits(images)[:, : len(FACE_TRAITS)], dim=-1)


def _portraits(identities: Array, yaw_deg: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    count = len(identities)
    yaws = np.full(count, yaw_deg, np.float32) * rng.choice([-1, 1], count).astype(np.float32)
    return render(identities, yaws, draw_expressions((count,), rng), draw_nuisances(count, rng))
