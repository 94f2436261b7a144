"""Training one variant of `benchmarks.ablation` on drawn heads, with the project's own adapter, attachment, flow and masks.

Belongs here: the adapter on the shared base, what it is told, its updates. Not here: the rows (`head_variants`), the base
(`head_base`), drawing and judging (`head_scores`).

Everything random of an update is a function of the seed and the step, and the same for all variants: the seeds of two rows are
pairs.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from benchmarks.head_base import BATCH, PATCH, adamw, loss_of, plain, update
from benchmarks.head_clips import FRAMES, HeadClips, spread_views
from benchmarks.head_variants import Variant
from model.bases.base import Base
from model.bases.flow import generator
from model.clips.clip_set import Batch
from model.encoding.face_features import FaceFeatures
from model.face_branch.aligner import FacePairs
from model.face_branch.attach import attach
from model.face_branch.fusion import FaceFusion
from model.face_branch.references import References
from model.face_branch.trainable import LORA, FusedModel, unfreeze
from model.presets import TrainConfig
from model.training.sampling import choose_told, hide_references

_LEAST_PAIR_GAP_DEG = 20.0
"""Two views of a pair differ by at least so much in yaw."""


def config_of(seed: int, steps: int) -> TrainConfig:
    """The same for all: LoRA on every attention of the base, so that a model without a face branch learns as much."""
    return TrainConfig(
        steps=steps,
        batch_size=BATCH,
        lr=3e-3,
        aligner_lr=3e-3,
        warmup_steps=20,
        seed=seed,
        lora_rank=8,
        lora_alpha=8,
        trainable="adapter_and_lora",
        checkpoint_every=1,
        log_every=1,
    )


@dataclass(frozen=True)
class Trained:
    """One variant on its own copy of the base."""

    variant: Variant
    base: Base
    model: FusedModel | None
    """None without a face branch."""
    identity_code: torch.Tensor  # (9, S * D_s + P * D_d)  what feeds an expert from the identity embedding

    def told(self, face: FaceFeatures) -> FaceFeatures:
        """The features of these photos as this variant's experts are given them."""
        semantic, detail = face.semantic[0].numel(), face.detail[0].numel()
        parts = (face.identity @ self.identity_code).split([semantic, detail], dim=1)
        made = {"semantic": parts[0].view_as(face.semantic), "detail": parts[1].view_as(face.detail)}
        return face._replace(**{name: made[name] for name in self.variant.from_identity})

    def velocity(
        self,
        noisy: torch.Tensor,
        sigma: torch.Tensor,
        text: torch.Tensor,
        face: FaceFeatures,
        keep_face: torch.Tensor | None = None,
        references: References | None = None,
    ) -> torch.Tensor:
        """Predicted n - x0, (B, C, T, h, w); `face` as `told` gives it."""
        if self.model is None:
            return plain(self.base.transformer, noisy, sigma, text)
        batch = Batch(noisy, text, face, clip_ids=())
        return self.model.velocity(noisy, sigma, batch, keep_face, references, first_frame=False)

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """What has gradients, as `FusedModel` names it."""
        if self.model is not None:
            return self.model.trainable()
        return {f"{LORA}/{name}": value for name, value in self.base.transformer.named_parameters() if value.requires_grad}

    @property
    def adapter_parameters(self) -> int:
        """Of the face branch alone."""
        return 0 if self.model is None else sum(value.numel() for value in self.model.fusion.parameters())


def assemble(variant: Variant, seed: int, shared: Base, clips: HeadClips) -> Trained:
    """A fresh variant on a copy of the shared base, initialised from its seed."""
    base = replace(shared, transformer=copy.deepcopy(shared.transformer))
    face = clips.face(torch.zeros(1, dtype=torch.long), torch.zeros(1, dtype=torch.long))
    model = None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fusion = None if variant.fusion is None else FaceFusion.for_transformer(base.transformer, face, variant.fusion)
        unfreeze(base.transformer, config_of(seed, steps=1))
    if fusion is not None:
        for name in variant.deaf:
            fusion.projections[name].register_forward_pre_hook(lambda _, given: tuple(map(torch.zeros_like, given)))
        if variant.shuffled and fusion.pose_aligner is not None:
            # Of all rows alike: the two views of a contrastive pair stay those of one person.
            fusion.pose_aligner.register_forward_pre_hook(lambda _, given: tuple(part.roll(1, 0) for part in given))
        # Wan's 512 rows of text would be most of the work here: the shared base was made with one row a frame.
        attach(fusion, base.transformer, text_rows=FRAMES)
        model = FusedModel(base, fusion)
    width = face.identity.shape[1]
    code = torch.randn(width, face.semantic[0].numel() + face.detail[0].numel(), generator=generator(0, "identity-code", 0))
    return Trained(variant, base, model, code)


def train(
    variant: Variant, seed: int, steps: int, shared: Base, clips: HeadClips, look: Callable[[int, Trained], None]
) -> tuple[Trained, float]:
    """One variant, and the mean flow loss of the last tenth of its steps.

    Args:
        look: called after every quarter of the steps but the last, with how many there have been.
    """
    trained = assemble(variant, seed, shared, clips)
    config = config_of(seed, steps)
    optimizer = adamw(trained.trainable(), config)
    shown = None if variant.spread is None else spread_views(clips, variant.spread, _views(variant))
    losses, quarters = [], {steps * part // 4 for part in (1, 2, 3)}
    for step in range(steps):
        loss = _loss(trained, config, step, clips, shown)
        losses.append(loss.item())
        aligner = variant.fusion and variant.fusion.aligner
        if trained.model is not None and aligner:
            loss = loss + aligner.loss_weight * trained.model.contrastive_loss(_pairs(clips, aligner.pairs, seed, step))
        update(optimizer, loss, config, step)
        if step + 1 in quarters:
            look(step + 1, trained)
    tail = losses[-max(1, steps // 10) :]
    return trained, sum(tail) / len(tail)


def _views(variant: Variant) -> int:
    return variant.fusion.references.views if variant.fusion and variant.fusion.references else 0


def _loss(trained: Trained, config: TrainConfig, step: int, clips: HeadClips, shown: torch.Tensor | None) -> torch.Tensor:
    dice = generator(config.seed, "order", step)
    persons = torch.randint(len(clips.latents), (BATCH,), generator=dice)
    photos = torch.randint(clips.view_angles_deg.shape[1], (BATCH,), generator=dice)
    # Words stay: what they tell is the pose, and nothing is guided by their absence here.
    told = [choose_told(config, step * BATCH + row) for row in range(BATCH)]
    keep = torch.tensor([row.face for row in told])
    face, text = trained.told(clips.face(persons, photos)), clips.text[persons]
    references = None
    if shown is not None and trained.variant.fusion and trained.variant.fusion.references:
        views = clips.view_latents[persons[:, None], shown[persons, photos]]
        chosen = trained.variant.fusion.references
        keep_views = torch.tensor([row.references for row in told])
        references = hide_references(views, chosen, keep_views, PATCH, config.seed, step)

    def predict(noisy: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return trained.velocity(noisy, sigma, text, face, keep, references)

    return loss_of(predict, clips.latents[persons], config.seed, step)


def _pairs(clips: HeadClips, most: int, seed: int, step: int) -> FacePairs:
    """Two views of each of some persons, apart in yaw."""
    dice = generator(seed, "pairs", step)
    persons = torch.randperm(len(clips.latents), generator=dice)[:most]
    yaws = clips.view_angles_deg[persons, :, 0]
    far = (yaws[:, :, None] - yaws[:, None]).abs() >= _LEAST_PAIR_GAP_DEG
    pick = torch.multinomial(far.flatten(1).float(), 1, generator=dice)[:, 0]
    two = torch.stack([pick // yaws.shape[1], pick % yaws.shape[1]], dim=1)
    parts = (clips.view_semantic, clips.view_angles_deg)
    return FacePairs(*(part[persons[:, None], two].transpose(0, 1) for part in parts))
