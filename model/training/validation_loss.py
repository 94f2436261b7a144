"""What a run's checkpoints are judged by without drawing: the flow loss on fixed triples, of the clips it trains on and of
held-out ones.

Belongs here: a model and a step -> the manifest of its checkpoint. Not here: the measure (`metrics`), when it is judged and the
likeness of what it draws (`validation`), which checkpoints are kept and which is best (`checkpoint_retention`).
"""

from dataclasses import dataclass

from model.clips.clip_set import ClipSet
from model.face_branch.trainable import FusedModel
from model.presets import Preset
from model.release.checkpoint import EmbeddingSource, Manifest
from model.training.execution import autocast
from model.training.metrics import fixed_flow_loss
from model.training.parallel import Ranks


@dataclass(frozen=True)
class Judge:
    """A run's clips and how it computes. Every process judges, since shared weights are gathered on all of them in step."""

    preset: Preset
    clips: ClipSet
    held_out: ClipSet | None
    """The validation split; None where it is empty."""
    dataset_version: str
    ranks: Ranks

    def loss(self, model: FusedModel, clips: ClipSet) -> float:
        """Mean over the fixed triples of `clips`."""
        with autocast(self.preset.train, self.ranks.device):
            return fixed_flow_loss(model, clips, self.preset)

    def manifest(self, model: FusedModel, step: int, loss_before: float, *, averaged: bool) -> Manifest:
        """Manifest of the model after `step` updates, before it draws; its parts are named when they are written."""
        meta = self.clips.meta
        loss_after = self.loss(model, self.clips)
        judged = self.preset.train.validate_every is not None
        validation_loss = self.loss(model, self.held_out) if judged and self.held_out is not None else loss_after
        return Manifest(
            preset=self.preset,
            base=model.base.info,
            face_engine=EmbeddingSource(
                name=meta.face_engine, version=meta.face_engine_version, width=model.fusion.config.identity_width
            ),
            encoders_fingerprint=meta.encoders_fingerprint,
            head_mask=meta.head_mask,
            parts={},
            dataset_version=self.dataset_version,
            seed=self.preset.train.seed,
            step=step,
            averaged=averaged,
            loss_before=loss_before,
            loss_after=loss_after,
            validation_loss=validation_loss if judged else None,
            validated_on=("train" if self.held_out is None else "validation") if judged else None,
            judged_by="loss" if judged else None,
        )
