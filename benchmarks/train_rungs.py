"""One training step of the project's own trainer, with one lever more or less: what `train_cpu` and `train_gpu` time.

Random weights of the real architectures, and clips of random numbers in the project's own files: nothing is downloaded, and a
step does what a step of a run does. A rung that encodes online runs the VAE and the text encoder in every step besides; what
they give is not used, so that all rungs without a face have the same loss.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from transformers import UMT5Config, UMT5EncoderModel

from model.bases.base import Base, BaseInfo
from model.bases.build import build_transformer
from model.bases.flow import TIMESTEPS, token_timesteps
from model.clips.clip_list import ClipMeta
from model.clips.clip_set import Batch, ClipSet
from model.encoding.face_features import FaceViews
from model.face_branch.references import References
from model.face_branch.trainable import ADAPTER, FusedModel, assemble
from model.presets import TEXT_ROWS, Injection, Preset
from model.training.batch_sampler import Order
from model.training.execution import prepare
from model.training.objective import backward
from model.training.optimisation import clip_gradients, gradient_norms, rated_groups, set_rates
from model.training.parallel import Ranks
from model.training.prefetch import one_ahead
from model.training.sampling import draw_steps
from model.training.train import never
from tests.model.cached_clips import ClipLatents, write_clips

_CLIPS = 4
_VOCABULARY = 1000


@dataclass(frozen=True)
class Rung:
    """What one step of the ladder has on."""

    name: str
    online: bool = False
    attention: str = "native"
    compiled: bool = False
    fused: bool = False
    checkpointing: float = 1.0
    offload: bool = False
    ahead: bool = True
    face: Injection | None = None
    batch: int = 1
    deterministic: bool = False


@dataclass(frozen=True)
class OnlineEncoders:
    """Sizes of the frozen encoders that a rung runs in every step."""

    vae: dict[str, Any]
    text: dict[str, Any]


class _Faceless(FusedModel):
    """The base and its LoRA alone; of a base that draws from text."""

    def velocity(
        self,
        noisy: torch.Tensor,
        sigma: torch.Tensor,
        batch: Batch,
        keep_face: torch.Tensor | None = None,
        references: References | None = None,
        first_frame: bool = True,
    ) -> torch.Tensor:
        transformer, timestep = self.base.transformer, TIMESTEPS * sigma
        if self.base.info.layout == "ti2v":
            timestep = token_timesteps(sigma, noisy, transformer.config.patch_size, first_frame)
        return transformer(hidden_states=noisy, timestep=timestep, encoder_hidden_states=batch.text, return_dict=False)[0]

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        return {name: value for name, value in super().trainable().items() if not name.startswith(ADAPTER)}


def as_rung(preset: Preset, rung: Rung) -> Preset:
    """What of it a preset can say."""
    config = {
        "batch_size": rung.batch,
        "forward_clips": None,
        "attention": rung.attention,
        "compile_blocks": rung.compiled,
        "gradient_checkpointing": rung.checkpointing,
        "offload_base": rung.offload,
    }
    fusion = preset.fusion.model_copy(update={"injection": rung.face or preset.fusion.injection})
    return preset.model_copy(update={"train": preset.train.model_copy(update=config), "fusion": fusion})


@contextmanager
def open_rung(
    preset: Preset, rung: Rung, encoders: OnlineEncoders, folder: Path, device: torch.device
) -> Iterator[Callable[[], float]]:
    """A function that takes one more step and gives its loss. `preset` is `bare`, of a base that draws from text."""
    chosen = as_rung(preset, rung)
    config = chosen.train
    ranks = Ranks(0, 1, device)
    clips = ClipSet(write_clips(folder, _random_clips(preset)))
    torch.manual_seed(0)
    with torch.device(device):
        transformer = build_transformer(preset.base).eval().requires_grad_(False)
    if config.precision == "bfloat16":
        _round_but_islands(transformer)
    info = BaseInfo(
        name=preset.base.name, layout=preset.base.layout, repository=None, revision=None, boundary=None, sha256="0" * 64
    )
    # Of a base's other components training calls none.
    rest: dict[str, Any] = dict.fromkeys(Base.__dataclass_fields__)
    base = Base(**rest | {"info": info, "transformer": transformer})
    model = assemble(base, clips.batch([0]).face, chosen.fusion, config)
    if rung.face is None:
        model = _Faceless(model.base, model.fusion)
    prepare(model, config, ranks)
    model.set_training(True)
    parameters = model.trainable()
    optimizer = torch.optim.AdamW(rated_groups(parameters, config), fused=rung.fused)
    encode = encode_online(preset, encoders, rung.batch, device, config.precision) if rung.online else None
    order = Order(tuple(clips.buckets.values()), rung.batch, config.seed)
    drawn = draw_steps(clips, order, chosen, 0, ranks)

    def step() -> float:
        if encode is not None:
            encode()
        draws = next(coming)
        losses = backward(model, draws, chosen, ranks, never)
        gradient_norms(parameters)  # for its log, as the loop does
        clip_gradients(optimizer, config.max_grad_norm)
        set_rates(optimizer, config, draws.step)
        optimizer.step()
        optimizer.zero_grad()
        return float(losses.flow.mean())

    with ThreadPoolExecutor(1) as reader:
        coming = (draws for draws, _ in one_ahead(drawn, reader)) if rung.ahead else drawn
        yield step


def _random_clips(preset: Preset) -> Iterator[ClipLatents]:
    """Random clips of the preset's own size."""
    spec, clip, shapes = preset.base, preset.clip, preset.features
    frames = 1 + (clip.frames - 1) // spec.temporal_factor
    size = (spec.latent_channels, frames, clip.height // spec.spatial_factor, clip.width // spec.spatial_factor)
    views, side = clip.views + 1, clip.view_side // spec.spatial_factor
    dice = torch.Generator().manual_seed(0)
    for number in range(_CLIPS):
        yield ClipLatents(
            latents=torch.randn(size, generator=dice),
            text=torch.randn(TEXT_ROWS // 2, spec.transformer.text_dim, generator=dice),
            null_text=torch.randn(1, spec.transformer.text_dim, generator=dice),
            views=FaceViews(
                identity=torch.nn.functional.normalize(torch.randn(views, shapes.identity_width, generator=dice), dim=1),
                semantic=torch.randn(views, shapes.semantic_tokens, shapes.semantic_width, generator=dice),
                detail=torch.randn(views, shapes.detail_tokens, shapes.detail_width, generator=dice),
                angles_deg=torch.randn(views, 3, generator=dice),
                latents=torch.randn(views, spec.latent_channels, side, side, generator=dice),
            ),
            meta=ClipMeta(
                clip_id=f"clip-{number}",
                caption="random",
                bucket=clip.bucket,
                fps=clip.fps,
                face_engine="none",
                face_engine_version="1",
                base_sha256="0" * 64,
                encoders_fingerprint="none",
            ),
        )


def bare(preset: Preset, lora_rank: int) -> Preset:
    """Without aligner and references, with LoRA: the ladder's face branch is the branch alone."""
    parts = preset.fusion.model_copy(update={"aligner": None, "references": None})
    lora = {"trainable": "adapter_and_lora", "lora_rank": lora_rank, "lora_alpha": lora_rank}
    return preset.model_copy(update={"fusion": parts, "train": preset.train.model_copy(update=lora)})


def _round_but_islands(transformer: Any) -> None:
    """What diffusers does when it loads a base in bfloat16."""
    islands = transformer._keep_in_fp32_modules
    for name, parameter in transformer.named_parameters():
        if not any(island in name.split(".") for island in islands):
            parameter.data = parameter.data.bfloat16()


def encode_online(
    preset: Preset, encoders: OnlineEncoders, batch: int, device: torch.device, precision: str
) -> Callable[[], None]:
    """Runs VAE and text encoder on `batch` clips of the preset's main size."""
    number = torch.bfloat16 if precision == "bfloat16" else torch.float32
    clip = preset.clip
    with torch.device(device):
        vae = AutoencoderKLWan(**encoders.vae).to(number).eval().requires_grad_(False)
        text = UMT5EncoderModel(UMT5Config(**encoders.text)).to(number).eval().requires_grad_(False)
        video = torch.rand(batch, 3, clip.frames, clip.height, clip.width, dtype=number) * 2 - 1
        ids = torch.randint(0, _VOCABULARY, (batch, TEXT_ROWS))

    @torch.no_grad()
    def encode() -> None:
        vae.encode(video).latent_dist.sample()
        text(ids)

    return encode
