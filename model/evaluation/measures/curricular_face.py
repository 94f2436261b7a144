"""CurricularFace's IR-101, which the published FaceSim-Cur runs: the network, its weights, and its embeddings of aligned faces.

Belongs here: the improved residual network of ArcFace's paper (Deng et al. 2019, section 3.2: batch norm, 3x3, batch norm, PReLU,
3x3 with the stride, batch norm), with modules named as the published weights name them. Not here: the measure (`facesim`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.face_engine.interface import Image

SIDE_PX: Final = 112
EMBEDDING_WIDTH: Final = 512
_IR_101: Final = ((64, 3), (128, 13), (256, 30), (512, 3))
"""Width and number of blocks of the four stages, each of which begins with a stride of 2."""
_BATCH: Final = 32


class WeightsUnfit(ValueError):
    """A file does not hold the weights of the network; the message names it and what is wrong."""


class Block(nn.Module):
    """One residual block."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.shortcut_layer: nn.Module
        if width_in == width:
            self.shortcut_layer = nn.MaxPool2d(1, stride)
        else:
            self.shortcut_layer = nn.Sequential(nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(width_in),
            nn.Conv2d(width_in, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.PReLU(width),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.res_layer(x) + self.shortcut_layer(x)


class CurricularFace(nn.Module):
    """(N, 3, 112, 112) in [-1, 1] to (N, 512). `stages`: width and blocks of each stage; four halvings make 7 x 7 of 112 px."""

    def __init__(self, stages: Sequence[tuple[int, int]] = _IR_101) -> None:
        super().__init__()
        width = stages[0][0]
        self.input_layer = nn.Sequential(nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.PReLU(width))
        blocks = []
        for stage_width, count in stages:
            for number in range(count):
                blocks.append(Block(width, stage_width, 2 if number == 0 else 1))
                width = stage_width
        self.body = nn.Sequential(*blocks)
        side = SIDE_PX >> len(stages)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.Dropout(0.4),
            nn.Flatten(),
            nn.Linear(width * side * side, EMBEDDING_WIDTH),
            nn.BatchNorm1d(EMBEDDING_WIDTH, affine=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.output_layer(self.body(self.input_layer(x)))


def load_curricular(path: Path) -> CurricularFace:
    """IR-101 with the weights of a file of torch.

    Raises:
        WeightsUnfit: the file holds others, or none.
    """
    with torch.device("meta"):
        network = CurricularFace()
    load_into(network, path, "CurricularFace's IR-101")
    return network


def load_into(network: nn.Module, path: Path, what: str) -> None:
    """Gives a network on the meta device the tensors of a file, all of them and no others; then it is ready to run.

    Raises:
        WeightsUnfit: the file holds others, or none.
    """
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True), assign=True)
    except Exception as error:
        first_line = str(error).splitlines()[0]
        raise WeightsUnfit(f"{path} does not hold the weights of {what}: {first_line}") from error
    network.eval().requires_grad_(False)


class CurricularVectors:
    """Embeddings of aligned faces as ConsisID and OpenS2V-Eval make them.

    Args:
        network: (N, 3, 112, 112) in [-1, 1] to (N, D), on `device`.
    """

    def __init__(self, network: nn.Module, device: torch.device | str) -> None:
        self._network = network.to(device)
        self._device = device

    @torch.no_grad()
    def __call__(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, 224, 224, 3) RGB to (N, D) of unit length."""
        vectors = []
        for start in range(0, len(crops), _BATCH):
            small: list[Image] = [cv2.resize(crop, (SIDE_PX, SIDE_PX)) for crop in crops[start : start + _BATCH]]  # type: ignore[misc]
            pixels = torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).to(self._device)
            vectors.append(self._network((pixels.float() / 255 - 0.5) / 0.5).cpu().numpy())
        found = np.concatenate(vectors)
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)
