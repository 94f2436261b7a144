"""How a face is guided at inference: which tokens each of the pipeline's passes sees, and how strongly the face counts.

Belongs here: the stand-in for the transformer that a stock diffusers pipeline calls. Not here: text guidance, which the
pipeline does itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import WanTransformer3DModel
from torch import nn

from model.attach import FACE
from model.fusion import FaceTokens


class FaceGuidance(nn.Module):
    """Calls a transformer (with a fusion attached) the way guidance needs it.

    The pipeline names its passes by `cache_context`. Its unconditional pass sees the null tokens; its conditional pass sees
    the face, extrapolated away from the null tokens by `scale` (1: the face as trained, and no third evaluation). With
    text guidance g the face is thus guided by g * scale.
    """

    def __init__(self, transformer: WanTransformer3DModel, face: FaceTokens, null: FaceTokens, scale: float) -> None:
        super().__init__()
        self.transformer = transformer
        self.face = face
        self.null = null
        self.scale = scale
        self._pass = "cond"

    @property
    def config(self) -> Any:
        return self.transformer.config

    @property
    def dtype(self) -> torch.dtype:
        return self.transformer.dtype

    @property
    def device(self) -> torch.device:
        return self.transformer.device

    @contextmanager
    def cache_context(self, name: str) -> Iterator[None]:
        """What diffusers' pipelines open around every pass: "cond" or "uncond"."""
        self._pass = name
        with self.transformer.cache_context(name):
            yield

    def forward(self, **inputs: Any) -> tuple[torch.Tensor]:
        """One pass as the pipeline asks for it (`return_dict=False`): the velocity, (B, C, T, h, w), in a tuple."""
        if self._pass == "uncond":
            return (self._predict(self.null, inputs),)
        given = self._predict(self.face, inputs)
        if self.scale == 1.0:
            return (given,)
        absent = self._predict(self.null, inputs)
        return (absent + self.scale * (given - absent),)

    def _predict(self, face: FaceTokens, inputs: dict[str, Any]) -> torch.Tensor:
        return self.transformer(**{**inputs, "attention_kwargs": {FACE: face}})[0]
