"""The frozen base as one folder of diffusers and transformers components: reading it, and what names it.

Belongs here: which components a base has, where they lie and the hash that names it. Not here: where a base comes from
(`build`), what is trained on top (`face_branch.fusion`, `release.checkpoint`) or how a video is drawn (`release.pipeline`).

`folder/base.json` names the base, `folder/components/` holds what diffusers' repositories of Wan hold: transformer (and
transformer_2), vae, text_encoder, tokenizer, scheduler, and image_encoder with image_processor where there is one.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import diffusers
import torch
from diffusers import (
    AutoencoderKLWan,
    ModelMixin,
    SchedulerMixin,
    WanImageToVideoPipeline,
    WanTransformer3DModel,
    WanVACETransformer3DModel,
)
from pydantic import BaseModel, ConfigDict
from torch import nn
from transformers import (
    AutoTokenizer,
    CLIPImageProcessor,
    CLIPVisionModel,
    PreTrainedTokenizerBase,
    UMT5EncoderModel,
)
from transformers.utils import logging as transformers_logging

from model.bases.codec import HaarCodec
from model.bases.specs import Layout
from model.files import sha256_folder

INFO_FILE = "base.json"
COMPONENTS = "components"
_PARTS = (
    "image_encoder",
    "image_processor",
    "scheduler",
    "text_encoder",
    "tokenizer",
    "transformer",
    "transformer_2",
    "vae",
)
_PIPELINE_MULTIPLE_PX = 16  # diffusers checks it whatever the VAE


Transformer: TypeAlias = WanTransformer3DModel | WanVACETransformer3DModel


class BaseError(ValueError):
    """A base folder is missing, incomplete or changed."""


class BaseInfo(BaseModel):
    """What names a base: checkpoints refuse any other."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    layout: Layout
    repository: str | None
    """On Hugging Face; None: built here, travels with its model."""
    revision: str | None
    """Commit of the repository."""
    boundary: float | None
    """Sigma from which on `transformer` draws; below it `transformer_2` does. None: there is one transformer."""
    sha256: str
    """Over the names and bytes of all component files."""

    def __str__(self) -> str:
        address = f" ({self.repository}@{self.revision})" if self.repository else ""
        return f"{self.name}{address} {self.sha256[:12]}"


@dataclass(frozen=True)
class Base:
    """A loaded base. Everything but what the trainer explicitly unfreezes stays as it is."""

    info: BaseInfo
    digests: Mapping[str, str]
    """Component to the hash of its files: what is cached is keyed by those that it went through."""
    transformer: Transformer
    codec: HaarCodec | AutoencoderKLWan
    text_encoder: UMT5EncoderModel
    tokenizer: PreTrainedTokenizerBase
    scheduler: SchedulerMixin
    transformer_2: Transformer | None
    """The low-noise one of two (Wan2.2 A14B)."""
    image_encoder: CLIPVisionModel | None
    image_processor: CLIPImageProcessor | None

    @property
    def transformers(self) -> tuple[Transformer, ...]:
        """One, or high noise and low noise."""
        return (self.transformer,) if self.transformer_2 is None else (self.transformer, self.transformer_2)

    @property
    def size_multiple_px(self) -> int:
        """Height and width of a video are multiples of this."""
        ours = self.codec.config.scale_factor_spatial * self.transformer.config.patch_size[1]
        return math.lcm(ours, _PIPELINE_MULTIPLE_PX)

    def image_to_video(
        self, transformer: nn.Module | None = None, transformer_2: nn.Module | None = None
    ) -> WanImageToVideoPipeline:
        """diffusers' own pipeline over these components.

        Both may be stand-ins with the interface of the base's own.
        """
        pipeline = WanImageToVideoPipeline(
            tokenizer=self.tokenizer,
            text_encoder=self.text_encoder,
            vae=self.codec,
            scheduler=self.scheduler,
            image_processor=self.image_processor,
            # Only a base with an image branch reads it; on others it serves the semantic expert alone.
            image_encoder=self.image_encoder if self.transformer.config.image_dim else None,
            transformer=transformer or self.transformer,
            transformer_2=transformer_2 or self.transformer_2,
            boundary_ratio=self.info.boundary,
            expand_timesteps=self.info.layout == "ti2v",
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline


def read_base_info(folder: Path) -> BaseInfo:
    """Name and recorded hash of the base in `folder`; its weights are not read.

    Raises:
        BaseError: there is no base.
    """
    try:
        return BaseInfo(**json.loads((folder / INFO_FILE).read_text()))
    except FileNotFoundError:
        raise BaseError(
            f"{folder} holds no base ({INFO_FILE} is missing): build it with build_tiny_base, or fetch and adopt_base it"
        ) from None


def hash_components(parts: Path) -> str:
    """Hex digest over all files of the components in `parts`, and of nothing that lies beside them."""
    return _digest_of(component_digests(parts))


def component_digests(parts: Path) -> dict[str, str]:
    """Component to the hex digest over its files, of those that are there."""
    return {name: sha256_folder(parts / name) for name in _PARTS if (parts / name).is_dir()}


def _digest_of(components: Mapping[str, str]) -> str:
    digest = hashlib.sha256()
    for name, sha256 in components.items():
        digest.update(f"{name}\0{sha256}\n".encode())
    return digest.hexdigest()


def load_base(
    folder: Path,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    *,
    encoders_only: bool = False,
) -> Base:
    """All components in evaluation mode, without gradients, on `device` (the GPU where there is one).

    Args:
        folder: the base.
        device: chosen unless given.
        dtype: of transformers and text encoder, unless as stored; what must stay in float32 (norms, time embedding, the
            whole VAE) does.
        encoders_only: the transformers have no weights, for who only encodes.

    Raises:
        BaseError: there is no base, or its files are not those it was recorded with.
    """
    info = read_base_info(folder)
    parts = folder / COMPONENTS
    digests = component_digests(parts)
    found = _digest_of(digests)
    if found != info.sha256:
        raise BaseError(f"base {folder} changed: recorded sha256 {info.sha256[:12]}, found {found[:12]}; restore it")
    target = pick_device(device)
    has_image_encoder = (parts / "image_encoder").is_dir()
    with no_progress_bars():
        frozen: dict[str, Any] = {
            "codec": _load_codec(parts / "vae"),
            "text_encoder": UMT5EncoderModel.from_pretrained(parts / "text_encoder", dtype=dtype or "auto"),
            "image_encoder": CLIPVisionModel.from_pretrained(parts / "image_encoder") if has_image_encoder else None,
        }
        names = ("transformer", "transformer_2") if info.boundary else ("transformer",)
        transformers = {
            name: (_outline(parts / name) if encoders_only else _load_diffusers(parts / name, dtype)) for name in names
        }
    if not encoders_only:
        frozen |= transformers
    for name, module in frozen.items():
        if module is not None:
            own_memory(module)
            frozen[name] = module.to(target).eval().requires_grad_(False)
    scheduler = json.loads((parts / "scheduler" / "scheduler_config.json").read_text())["_class_name"]
    return Base(
        info=info,
        digests=digests,
        tokenizer=AutoTokenizer.from_pretrained(parts / "tokenizer"),
        image_processor=CLIPImageProcessor.from_pretrained(parts / "image_processor") if has_image_encoder else None,
        scheduler=getattr(diffusers, scheduler).from_pretrained(parts / "scheduler"),
        **{"transformer_2": None} | transformers | frozen,
    )


def own_memory(module: nn.Module) -> None:
    """Gives every tensor of `module` memory of its own, aligned as torch allocates it.

    safetensors maps tensors from the file, at whatever address they begin there, and CPU kernels round differently at
    addresses that are not aligned: without this a loaded model is not bit-equal to the one that was saved.
    """
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.data = tensor.data.clone()


def pick_device(device: torch.device | str | None) -> torch.device:
    """`device`, or the GPU where there is one, or the CPU."""
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """transformers draws a bar for every component, however small; a base of milliseconds needs none."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def _load_diffusers(part: Path, dtype: torch.dtype | None) -> ModelMixin:
    """Of the class that its config names."""
    name = json.loads((part / "config.json").read_text())["_class_name"]
    return getattr(diffusers, name).from_pretrained(part, torch_dtype=dtype)


def _outline(part: Path) -> ModelMixin:
    """The same without weights."""
    config = json.loads((part / "config.json").read_text())
    kind = getattr(diffusers, config["_class_name"])
    with torch.device("meta"):
        return kind.from_config(config)


def _load_codec(part: Path) -> HaarCodec | AutoencoderKLWan:
    config = HaarCodec.load_config(part)
    if config["_class_name"] == HaarCodec.__name__:
        return HaarCodec.from_config(config)
    return AutoencoderKLWan.from_pretrained(part)
