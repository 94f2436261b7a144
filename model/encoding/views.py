"""Several views of one face, encoded: what the pose-shared aligner pairs and what multi-view references show.

Belongs here: from crops and angles to tensors, the same for a cached clip and a live request. Not here: finding the faces
(`face_processor`), the encoders (`encoders`).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from model.encoding.face_features import FaceViews

if TYPE_CHECKING:
    from model.encoding.encoders import ClipEncoders


def encode_views(
    encoders: "ClipEncoders", crops: Sequence[NDArray[np.uint8]], angles_deg: NDArray[np.float32], side_px: int
) -> FaceViews:
    """Head-and-shoulders crops (H, W, 3) of any sizes, and their Euler angles (V, 3), as tensors on the CPU."""
    return FaceViews(
        latents=view_latents(encoders, crops, side_px).cpu(),
        semantic=torch.cat([encoders.semantic(crop).cpu() for crop in crops]),
        angles_deg=torch.from_numpy(np.asarray(angles_deg, dtype=np.float32).reshape(len(crops), 3)),
    )


def view_latents(encoders: "ClipEncoders", crops: Sequence[NDArray[np.uint8]], side_px: int) -> torch.Tensor:
    """(V, C, h, w): normalised, of each crop at `side_px` a side."""
    squares = [np.asarray(Image.fromarray(crop).resize((side_px, side_px), Image.Resampling.BICUBIC)) for crop in crops]
    return torch.stack([encoders.video(square[None])[:, 0] for square in squares])
