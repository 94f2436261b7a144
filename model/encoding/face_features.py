"""What the frozen encoders say of a face: of one picture of it, and of several.

Belongs here: the types that encoders fill and the face branch reads. Not here: encoding (`encoders`, `views`).
"""

from typing import NamedTuple

import torch


class FaceFeatures(NamedTuple):
    """What the frozen encoders say about one face a row; widths are the encoders' own."""

    identity: torch.Tensor  # (B, E) of unit length
    semantic: torch.Tensor  # (B, S, D_s)
    detail: torch.Tensor  # (B, P, D_d)
    angles_deg: torch.Tensor | None = None  # (B, 3)  yaw, pitch, roll; only the pose-shared aligner reads them

    def to(self, device: torch.device) -> "FaceFeatures":
        """The same features on `device`."""
        return self._replace(**{name: value.to(device) for name, value in self._asdict().items() if value is not None})

    def in_precision(self, dtype: torch.dtype) -> "FaceFeatures":
        """What networks read, in `dtype`; angles stay as they are, for bfloat16 has no tenths of a degree."""
        return self._replace(identity=self.identity.to(dtype), semantic=self.semantic.to(dtype), detail=self.detail.to(dtype))


class FaceViews(NamedTuple):
    """Pictures of one face, a row each, and all that is encoded of each: any of them may condition a video, or be a reference."""

    identity: torch.Tensor  # (V, E)       of unit length
    semantic: torch.Tensor  # (V, S, D_s)
    detail: torch.Tensor  # (V, P, D_d)
    angles_deg: torch.Tensor  # (V, 3)     yaw, pitch, roll
    latents: torch.Tensor  # (V, C, h, w)  normalised, of the crop at the preset's `view_side`: a reference
    picture: torch.Tensor | None = None  # (V, C, 1, h, w)  of the crop fitted into the clip's size, for VACE
