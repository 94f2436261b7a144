"""Inception-v3 of torchvision: the 2048 numbers before its last layer, of aligned faces.

Belongs here: loading and running it, in the two ways in which it is fed. Not here: distances (`fid`).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PilImage
from torch import Tensor, nn
from torchvision.models import inception_v3

from model.evaluation.measures.curricular_face import load_into

WIDTH: Final = 2048
SIDE_PX: Final = 299
_BATCH: Final = 16
# The means and spreads of ImageNet, by which torchvision's weights want their input shifted and scaled.
_MEAN, _SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def load_inception(path: Path) -> nn.Module:
    """Inception-v3 without its last layer.

    Raises:
        WeightsUnfit: the file holds other weights, or none.
    """
    with torch.device("meta"):
        network = inception_v3(weights=None, init_weights=False, transform_input=True)
    load_into(network, path, "torchvision's Inception-v3")
    network.fc = nn.Identity()
    return network


class InceptionVectors:
    """Features of aligned faces. `network`: (N, 3, 299, 299) to (N, D), on `device`."""

    def __init__(self, network: nn.Module, device: torch.device | str) -> None:
        self._network = network.to(device)
        self._device = device

    def __call__(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, H, W, 3) RGB to (N, D), of pixels as the weights want them."""
        mean, spread = (torch.tensor(of, device=self._device)[:, None, None] for of in (_MEAN, _SPREAD))
        return self._run(crops, lambda pixels: (pixels - mean) / spread)

    def unshifted(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The same of pixels in [0, 1], as ConsisID feeds them: the network takes them for shifted and scaled ones."""
        return self._run(crops, lambda pixels: pixels)

    @torch.no_grad()
    def _run(self, crops: NDArray[np.uint8], prepare: Callable[[Tensor], Tensor]) -> NDArray[np.float32]:
        vectors = []
        for start in range(0, len(crops), _BATCH):
            large = [_resized(crop) for crop in crops[start : start + _BATCH]]
            pixels = torch.from_numpy(np.stack(large)).permute(0, 3, 1, 2).to(self._device).float() / 255
            vectors.append(self._network(prepare(pixels)).cpu().numpy())
        return np.concatenate(vectors)


def _resized(crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.array(PilImage.fromarray(crop).resize((SIDE_PX, SIDE_PX), PilImage.Resampling.BILINEAR))
