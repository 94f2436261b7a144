"""How face and references are guided at inference: what each of the pipeline's passes sees, and how strongly they count.

Belongs here: the stand-in for the transformer that a stock diffusers pipeline calls. Not here: text guidance, which the
pipeline does itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from model.bases.base import Transformer
from model.face_branch.attach import FACE, REFERENCES
from model.face_branch.fusion import FaceTokens
from model.face_branch.references import References


class FaceGuidance(nn.Module):
    """Calls a transformer (with a fusion attached) the way guidance needs it.

    The pipeline names its passes by `cache_context`. Its unconditional pass sees the null tokens. Its conditional pass goes
    from the null tokens to the face by `scale`, and on to the references by `reference_scale`:

        v(null, null) + scale * (v(face, null) - v(null, null)) + reference_scale * (v(face, views) - v(face, null))

    With both at 1 that is the model as trained, in one evaluation; every other evaluation whose factor is 0 is left out too.
    With text guidance g the face is thus guided by g * scale, the references by g * reference_scale.

    Args:
        transformer: the base's, with a fusion attached.
        face: the person, or None to leave the branch out.
        null: the null tokens, given whenever `face` is.
        scale: how strongly the face counts.
        references: further views, or None.
        reference_scale: how strongly they count.
        masked_share: of each view's tokens, hidden as in training, others at every timestep.
    """

    def __init__(
        self,
        transformer: Transformer,
        face: FaceTokens | None,
        null: FaceTokens | None,
        scale: float = 1.0,
        references: References | None = None,
        reference_scale: float = 1.0,
        masked_share: float = 0.0,
    ) -> None:
        super().__init__()
        self.transformer = transformer
        self._masked_share = masked_share
        nobody = None if references is None else references.null()
        self._unconditional = _condition(null, nobody)
        if references is None:
            reference_scale = scale
        factors = (
            (reference_scale, _condition(face, references)),
            (scale - reference_scale, _condition(face, nobody)),
            (1.0 - scale, self._unconditional),
        )
        self._conditional = [(factor, condition) for factor, condition in factors if factor != 0.0]
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
    def cache_context(self, name: str, **place: Any) -> Iterator[None]:
        """What diffusers' pipelines open around every pass: "cond" or "uncond"; some say at which step of the run."""
        self._pass = name
        with self.transformer.cache_context(name, **place):
            yield

    def forward(self, **inputs: Any) -> tuple[torch.Tensor]:
        """One pass as the pipeline asks for it (`return_dict=False`): the velocity, (B, C, T, h, w), in a tuple."""
        if self._pass == "uncond":
            return (self._predict(self._unconditional, inputs),)
        if len(self._conditional) == 1:
            return (self._predict(self._conditional[0][1], inputs),)
        parts = [factor * self._predict(condition, inputs) for factor, condition in self._conditional]
        return (torch.stack(parts).sum(dim=0),)

    def _predict(self, condition: dict[str, Any], inputs: dict[str, Any]) -> torch.Tensor:
        if REFERENCES in condition:
            shown = condition[REFERENCES].at_step(
                float(inputs["timestep"].max()), self._masked_share, self.transformer.config.patch_size
            )
            condition = {**condition, REFERENCES: shown}
        return self.transformer(**{**inputs, "attention_kwargs": condition})[0]


def _condition(face: FaceTokens | None, references: References | None) -> dict[str, Any]:
    given = {FACE: face, REFERENCES: references}
    return {name: value for name, value in given.items() if value is not None}
