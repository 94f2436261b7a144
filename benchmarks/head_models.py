"""Training and judging one variant on drawn heads, with the project's own adapter, attachment, flow and draws.

Belongs here: the base that all variants share, one run of one variant, its score. Not here: the heads and clips (`heads`,
`head_clips`), the networks that recognise them (`head_judge`), the table (`ablation`).
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import WanTransformer3DModel
from safetensors.torch import load_file, save_file

from benchmarks.head_clips import FRAMES, TEXT_WIDTH, HeadClips, codec, decode, portraits
from benchmarks.head_judge import Recogniser
from model.bases.base import Base, load_base
from model.bases.build import build_tiny_base
from model.bases.flow import TIMESTEPS, add_noise, flow_loss, generator, shift_sigma
from model.clips.clip_set import Batch
from model.face_branch.aligner import FacePairs
from model.face_branch.attach import attach
from model.face_branch.fusion import FaceFusion
from model.face_branch.references import References
from model.face_branch.trainable import FusedModel, unfreeze
from model.files import whole_file
from model.presets import AlignerConfig, FusionConfig, ReferenceConfig, TrainConfig
from model.training.draws import hide_references

_PATCH = (1, 1, 1)
_BASE_BATCH, _BASE_LR = 16, 3e-3
_SAMPLING_STEPS = 12
_SAMPLING_SHIFT = 3.0
_PORTRAITS = 8
GAPS_DEG = ((0, 30), (30, 60), (60, 150))
"""Pose gaps between the photo and a frame in which similarity is reported."""

_SMALL = FusionConfig(tokens=4, token_width=48, gate_width=32, attention_width=48, head_width=24)
_ALIGNER = AlignerConfig(dictionary=128, width=32, pairs=64, chunk=64)
# The paper's 60 % of 16 tokens a view; two views: the photo itself and one in another pose.
_REFERENCES = ReferenceConfig(views=2)
VARIANTS: dict[str, FusionConfig | None] = {
    "none": None,
    "mofe": _SMALL.model_copy(update={"kind": "mofe"}),
    "cofe": _SMALL,
    "aligner": _SMALL.model_copy(update={"aligner": _ALIGNER}),
    "references": _SMALL.model_copy(update={"references": _REFERENCES}),
    "all": _SMALL.model_copy(update={"time_aware": True, "aligner": _ALIGNER, "references": _REFERENCES}),
}
"""What is compared; aligner and references stand beside CoFE, `all` is everything."""


@dataclass(frozen=True)
class Score:
    """Mean cosine similarity of the judge's embeddings of frames with that of the person, unseen in training."""

    similarity: float
    by_gap: list[float]
    """In the order of `GAPS_DEG`."""
    loss: float
    """Mean flow loss of the last tenth of the training steps."""


def pretrained_transformer(path: Path, clips: HeadClips, steps: int, report: Callable[[str], None]) -> WanTransformer3DModel:
    """The base that every variant starts from: heads that turn as the text says, of nobody in particular.

    Trained and written to `path` first where it is not there.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformer = WanTransformer3DModel(
            patch_size=_PATCH,
            num_attention_heads=4,
            attention_head_dim=24,
            in_channels=clips.latents.shape[1],
            out_channels=clips.latents.shape[1],
            text_dim=TEXT_WIDTH,
            freq_dim=64,
            ffn_dim=256,
            num_layers=3,
            rope_max_seq_len=32,
        )
    if path.is_file():
        transformer.load_state_dict(load_file(path))
        return transformer.eval().requires_grad_(False)
    config = TrainConfig(
        steps=steps, batch_size=_BASE_BATCH, lr=_BASE_LR, base_lr=_BASE_LR, warmup_steps=100, **_UNUSED, trainable="all"
    )
    optimizer = torch.optim.AdamW(transformer.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    for step in range(steps):
        batch = _draw(clips, config, step)
        loss = _step(lambda noisy, sigma, batch: _plain(transformer, noisy, sigma, batch.text), batch, config, step)
        _update(optimizer, list(transformer.parameters()), loss, config, step)
        if (step + 1) % 250 == 0:
            report(f"base: step {step + 1} of {steps}, loss {loss.item():.3f}")
    with whole_file(path) as temporary:
        save_file(transformer.state_dict(), temporary)
    return transformer.eval().requires_grad_(False)


def base_of(transformer: WanTransformer3DModel, folder: Path) -> Base:
    """The tiny base (built in `folder` where it is not there) around this transformer and the heads' codec."""
    build_tiny_base(folder)
    tiny = load_base(folder, "cpu")
    return replace(tiny, info=tiny.info.model_copy(update={"layout": "ti2v"}), transformer=transformer, codec=codec())


def run(variant: str, seed: int, steps: int, shared: Base, train: HeadClips, test: HeadClips, judge: Recogniser) -> Score:
    """Trains one variant from the shared base with one seed and judges it on persons that it never saw."""
    fusion = VARIANTS[variant]
    # The same for all: LoRA on every attention of the base, so that a model without a face branch learns as much.
    config = TrainConfig(
        steps=steps, batch_size=16, lr=3e-3, warmup_steps=20, seed=seed, lora_rank=8, lora_alpha=8, **_UNUSED,
        trainable="adapter_and_lora",
    )  # fmt: skip
    base = replace(shared, transformer=copy.deepcopy(shared.transformer))
    model = None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        adapter = None if fusion is None else FaceFusion.for_transformer(base.transformer, train.face, fusion)
        unfreeze(base.transformer, config)
    parameters = [value for value in base.transformer.parameters() if value.requires_grad]
    if adapter is not None:
        # Wan's 512 rows of text would be most of the work here: the shared base was made with one row a frame.
        attach(adapter, base.transformer, text_rows=FRAMES)
        model = FusedModel(base, adapter)
        parameters = list(model.trainable().values())
    optimizer = torch.optim.AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay)
    losses = []
    for step in range(steps):
        batch = _draw(train, config, step, fusion)
        references, keep = None, None
        if fusion is not None:
            keep = torch.rand(config.batch_size, generator=generator(seed, "face-dropout", step)) >= config.face_dropout
            if fusion.references and batch.references is not None:
                dice = torch.rand(config.batch_size, generator=generator(seed, "reference-dropout", step))
                kept = dice >= config.reference_dropout
                references = hide_references(batch.references, fusion.references, kept, _PATCH, seed, step)
        loss = _step(_velocity(base, model, keep, references), batch, config, step)
        losses.append(loss.item())
        if model is not None and fusion is not None and fusion.aligner:
            loss = loss + fusion.aligner.loss_weight * model.contrastive_loss(_pairs(train, fusion.aligner, seed, step))
        _update(optimizer, parameters, loss, config, step)
    return _score(base, model, fusion, test, judge, seed, float(np.mean(losses[-max(1, steps // 10) :])))


def gap_means(similarity: np.ndarray, gap_deg: np.ndarray) -> list[float]:
    """Mean similarity in each range of `GAPS_DEG`."""
    return [float(similarity[(gap_deg >= low) & (gap_deg < high)].mean()) for low, high in GAPS_DEG]


def centroids(clips: HeadClips, judge: Recogniser) -> torch.Tensor:
    """(N, 16) what the judge knows each person by: the mean over real portraits in random poses."""
    images = portraits(clips.identities.numpy(), _PORTRAITS, seed=0)
    embeddings = judge.embed(images.reshape(-1, *images.shape[2:])).unflatten(0, images.shape[:2])
    return F.normalize(embeddings.mean(dim=1), dim=-1)


def similarity_of(frames: np.ndarray, clips: HeadClips, judge: Recogniser) -> np.ndarray:
    """(N, T) similarity of each frame (N, T, H, W, 3) with its person."""
    embeddings = judge.embed(frames.reshape(-1, *frames.shape[2:])).unflatten(0, frames.shape[:2])
    return (embeddings * centroids(clips, judge)[:, None]).sum(dim=-1).numpy()


@torch.no_grad()
def _score(
    base: Base, model: FusedModel | None, fusion: FusionConfig | None, test: HeadClips, judge: Recogniser, seed: int, loss: float
) -> Score:
    base.transformer.eval()
    references = None
    if fusion is not None and fusion.references:
        references = References(test.view_latents[:, : fusion.references.views])
    predict = _velocity(base, model, None, references)
    batch = Batch(test.latents, test.text, test.face, clip_ids=())
    video = torch.randn(test.latents.shape, generator=generator(seed, "sampling", 0))
    sigmas = shift_sigma(torch.linspace(1, 0, _SAMPLING_STEPS + 1), _SAMPLING_SHIFT)
    for now, then in pairwise(sigmas):
        video = video + (then - now) * predict(video, now.expand(len(video)), batch)
    similarity = similarity_of(decode(video), test, judge)
    gap_deg = (test.yaw_deg - test.view_angles_deg[:, :1, 0]).abs().numpy()
    return Score(float(similarity.mean()), gap_means(similarity, gap_deg), loss)


Predict = Callable[[torch.Tensor, torch.Tensor, Batch], torch.Tensor]
# What a run without the trainer's files and reports never reads.
_UNUSED = {"checkpoint_every": 1, "log_every": 1, "text_dropout": 0.0}


def _velocity(base: Base, model: FusedModel | None, keep: torch.Tensor | None, references: References | None) -> Predict:
    if model is None:
        return lambda noisy, sigma, batch: _plain(base.transformer, noisy, sigma, batch.text)
    return lambda noisy, sigma, batch: model.velocity(noisy, sigma, batch, keep, references, first_frame=False)


def _plain(transformer: WanTransformer3DModel, noisy: torch.Tensor, sigma: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    return transformer(
        hidden_states=noisy, timestep=TIMESTEPS * sigma, encoder_hidden_states=text, return_dict=False
    )[0]  # fmt: skip


def _step(predict: Predict, batch: Batch, config: TrainConfig, step: int) -> torch.Tensor:
    """The batch's flow loss; nothing is given of the video."""
    uniform = torch.rand(config.batch_size, generator=generator(config.seed, "sigma", step))
    sigma = shift_sigma(uniform, _SAMPLING_SHIFT)
    noise = torch.randn(batch.latents.shape, generator=generator(config.seed, "noise", step))
    noisy = add_noise(batch.latents, noise, sigma, first_frame=False)
    return flow_loss(predict(noisy, sigma, batch), batch.latents, noise, first_frame=False).mean()


def _update(
    optimizer: torch.optim.Optimizer, parameters: list[torch.nn.Parameter], loss: torch.Tensor, config: TrainConfig, step: int
) -> None:
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
    warm = min(1.0, (step + 1) / config.warmup_steps)
    for group in optimizer.param_groups:
        group["lr"] = config.lr * warm * 0.5 * (1 + math.cos(math.pi * step / config.steps))
    optimizer.step()


def _draw(clips: HeadClips, config: TrainConfig, step: int, fusion: FusionConfig | None = None) -> Batch:
    dice = generator(config.seed, "order", step)
    chosen = torch.randint(len(clips.latents), (config.batch_size,), generator=dice)
    references = None
    if fusion is not None and fusion.references:
        # Any views of the person but in random order, as training on clips draws them.
        order = torch.rand(config.batch_size, clips.view_latents.shape[1], generator=dice).argsort(dim=1)
        references = clips.view_latents[chosen[:, None], order[:, : fusion.references.views]]
    face = type(clips.face)(*(feature[chosen] for feature in clips.face))
    return Batch(clips.latents[chosen], clips.text[chosen], face, clip_ids=(), references=references)


def _pairs(clips: HeadClips, config: AlignerConfig, seed: int, step: int) -> FacePairs:
    dice = generator(seed, "pairs", step)
    persons = torch.randperm(len(clips.latents), generator=dice)[: config.pairs]
    two = torch.rand(len(persons), clips.view_latents.shape[1], generator=dice).argsort(dim=1)[:, :2]
    parts = (clips.view_semantic, clips.view_angles_deg)
    return FacePairs(*(part[persons[:, None], two].transpose(0, 1) for part in parts))
