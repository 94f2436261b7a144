"""Crops of any size become views of one size."""

import numpy as np
import torch

from model.bases.base import Base
from model.encoding.encoders import ClipEncoders
from model.encoding.views import encode_views


def test_crops_of_any_size_become_views_of_one(base: Base) -> None:
    rng = np.random.default_rng(0)
    crops = [rng.integers(0, 256, (side, side, 3), np.uint8) for side in (20, 37)]
    angles = np.array([[10, 0, 0], [-30, 5, 2]], np.float32)
    encoders = ClipEncoders(base)
    embeddings = np.array([[3, 4], [0, 2]], np.float32)
    views = encode_views(encoders, crops, embeddings, angles, side_px=16, clip_size=(16, 32))
    assert views.latents.shape == (2, 48, 4, 4)
    assert torch.equal(views.semantic, torch.cat([encoders.semantic(crop) for crop in crops]))
    assert torch.equal(views.detail, torch.cat([encoders.detail(crop) for crop in crops]))
    assert torch.allclose(views.identity, torch.tensor([[0.6, 0.8], [0.0, 1.0]]))
    assert torch.equal(views.angles_deg, torch.from_numpy(angles))
    assert views.picture is None, "this base is given none"
    second = encode_views(encoders, crops[1:], embeddings[1:], angles[1:], 16, (16, 32))
    assert torch.equal(second.latents[0], views.latents[1])
