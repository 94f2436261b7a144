"""Several views of one face, encoded: what conditions, what the pose-shared aligner pairs and what multi-view references show.

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
    encoders: "ClipEncoders",
    crops: Sequence[NDArray[np.uint8]],
    embeddings: NDArray[np.float32],
    angles_deg: NDArray[np.float32],
    side_px: int,
    clip_size: tuple[int, int],
) -> FaceViews:
    """Everything of a face's views, on the CPU; for clips that are encoded in memory.

    Args:
        crops: (H, W, 3) of any sizes, head and shoulders.
        embeddings: (V, E) of any length.
        angles_deg: (V, 3) yaw, pitch, roll.
        side_px: of a reference.
        clip_size: height and width of the clip, which VACE's picture has too.
    """
    faces = [encoders.face(crop, embedding) for crop, embedding in zip(crops, embeddings, strict=True)]
    identity, semantic, detail = (torch.cat(part).cpu() for part in list(zip(*faces, strict=True))[:3])
    pictures = [encoders.conditions.picture(crop, *clip_size) for crop in crops] if encoders.base.info.layout == "vace" else []
    return FaceViews(
        identity=identity,
        semantic=semantic,
        detail=detail,
        angles_deg=torch.from_numpy(np.asarray(angles_deg, dtype=np.float32).reshape(len(crops), 3)),
        latents=view_latents(encoders, crops, side_px).cpu(),
        picture=torch.cat(pictures).cpu() if pictures else None,
    )


def view_latents(encoders: "ClipEncoders", crops: Sequence[NDArray[np.uint8]], side_px: int) -> torch.Tensor:
    """(V, C, h, w): normalised, of each crop at `side_px` a side."""
    squares = [np.asarray(Image.fromarray(crop).resize((side_px, side_px), Image.Resampling.BICUBIC)) for crop in crops]
    return torch.stack([encoders.video(square[None])[:, 0] for square in squares])
