"""The frozen base as one folder of diffusers and transformers components: reading it, and what names it.

Belongs here: which components a base has and where they lie. Not here: where a base comes from (`build`, `adopt`), reading one of
its networks (`components`), its hashes (`digests`), what is trained on top (`face_branch.fusion`, `release.checkpoint`) or how a
video is drawn (`release.pipeline`).

`folder/base.json` names the base, `folder/components/` holds what diffusers' repositories of Wan hold: transformer (and
transformer_2), vae, text_encoder, tokenizer, scheduler, and image_encoder with image_processor where there is one.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import AutoencoderKLWan, SchedulerMixin, WanImageToVideoPipeline
from pydantic import Field, ValidationError
from torch import nn
from transformers import AutoTokenizer, CLIPImageProcessor, CLIPVisionModel, PreTrainedTokenizerBase, UMT5EncoderModel

from model.bases.codec import HaarCodec
from model.bases.components import BaseError, Transformer, load_component, no_progress_bars, outline, own_memory
from model.bases.digests import COMPONENTS, INFO_FILE, PARTS, base_digest, component_digests
from model.bases.specs import Layout
from model.files import write_whole
from model.strict import StrictModel
from model.untrusted_files import MOST_SIDE_PX, Untrustworthy, check_numbers, check_own, read_json
from model.wording import first_few

_PROVED = "revision_proved"
"""In that file alone: a base is the same one whether its commit was proved or not."""
TRANSFORMERS = frozenset({"transformer", "transformer_2"})
ENCODERS = frozenset({"text_encoder", "image_encoder", "vae"})
_TOKENIZERS = frozenset({"PreTrainedTokenizerFast", "T5Tokenizer", "T5TokenizerFast", "TokenizersBackend"})
"""Of published bases and of our own, by any version of transformers that wrote them."""
_MOST_TIMESTEPS = 100_000
"""A scheduler fills tables of this length; Wan's have 1000."""
_PIPELINE_MULTIPLE_PX = 16  # diffusers checks it whatever the VAE


class BaseInfo(StrictModel):
    """What names a base: checkpoints refuse any other."""

    name: str = Field(pattern=r"^\w[\w.\- ]*$")
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
        told: dict[str, Any] = read_json(folder / INFO_FILE)
        return BaseInfo(**{name: value for name, value in told.items() if name != _PROVED})
    except (Untrustworthy, ValidationError, AttributeError) as error:
        raise BaseError(f"{folder / INFO_FILE} names no base: {error}") from error
    except FileNotFoundError:
        if (folder / "model_index.json").is_file() or (folder / COMPONENTS).is_dir():
            raise BaseError(
                f"{folder} is a fetched snapshot that nobody has checked: put it to bases/PRESET/{COMPONENTS} of the store, run "
                f"`lafid adopt PRESET`, and name bases/PRESET"
            ) from None
        raise BaseError(
            f"{folder} holds no base ({INFO_FILE} is missing): fetch one into the store and take it into use with "
            "`lafid adopt PRESET`, which says how"
        ) from None


def write_base_info(folder: Path, info: BaseInfo, *, revision_proved: bool | None = None) -> None:
    """Makes what lies in `folder` a base.

    Args:
        revision_proved: whether every file is as the download of `info.revision` recorded it; None: there is no revision.
    """
    told = info.model_dump() | ({} if revision_proved is None else {_PROVED: revision_proved})
    write_whole(folder / INFO_FILE, json.dumps(told, indent=2) + "\n")


def load_base(
    folder: Path,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    *,
    weights: frozenset[str] = TRANSFORMERS | ENCODERS,
) -> Base:
    """All components in evaluation mode, without gradients, on `device` (the GPU where there is one).

    Args:
        folder: the base.
        device: chosen unless given.
        dtype: of transformers and text encoder, unless as stored; what must stay in float32 (norms, time embedding, the
            whole VAE) does.
        weights: the networks that are loaded; of the others there are outlines, which have a config and no weights. `ENCODERS`
            for who only encodes, `TRANSFORMERS` for who only trains.

    Raises:
        BaseError: there is no base, its files are not those it was recorded with, or a network is not whole.
    """
    info = read_base_info(folder)
    parts = folder / COMPONENTS
    digests = component_digests(folder)
    found = base_digest(digests)
    if found != info.sha256:
        raise BaseError(
            f"base {folder} changed: recorded sha256 {info.sha256[:12]}, found {found[:12]}{_newer(folder)}; restore it, "
            "remove what does not belong there, or `lafid adopt` it anew"
        )
    target = pick_device(device)
    has_image_encoder = (parts / "image_encoder").is_dir()

    def network(name: str) -> Any:
        if name not in weights:
            return outline(parts / name)
        loaded = load_component(parts / name, dtype)
        own_memory(loaded)
        return loaded.to(target).eval().requires_grad_(False)

    with no_progress_bars():
        return Base(
            info=info,
            digests=digests,
            transformer=network("transformer"),
            transformer_2=network("transformer_2") if info.boundary else None,
            codec=network("vae"),
            text_encoder=network("text_encoder"),
            image_encoder=network("image_encoder") if has_image_encoder else None,
            tokenizer=load_tokenizer(parts / "tokenizer"),
            image_processor=load_image_processor(parts / "image_processor") if has_image_encoder else None,
            scheduler=load_scheduler(parts / "scheduler"),
        )


def _newer(folder: Path) -> str:
    """The component files that are younger than the record, in words: most likely those that changed or came."""
    written_ns, parts = (folder / INFO_FILE).stat().st_mtime_ns, folder / COMPONENTS
    files = (path for name in PARTS for path in sorted((parts / name).rglob("*")) if path.is_file())
    newer = [path.relative_to(parts).as_posix() for path in files if path.stat().st_mtime_ns > written_ns]
    return f", and {first_few(newer)} is newer than that record" if newer else ""


def pick_device(device: torch.device | str | None) -> torch.device:
    """`device`, or the GPU where there is one, or the CPU."""
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def load_tokenizer(part: Path) -> PreTrainedTokenizerBase:
    """Never by code that lies beside it, for which transformers would ask on the terminal.

    Raises:
        BaseError: it is of a class that no base has, or cannot be read.
    """
    config = part / "tokenizer_config.json"
    try:
        told = read_json(config)
        check_own(told, config)
        if (kind := told.get("tokenizer_class")) not in _TOKENIZERS:
            raise BaseError(f"{part} is of class {kind}, a base's are {', '.join(sorted(_TOKENIZERS))}")
        return AutoTokenizer.from_pretrained(part, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError, AttributeError, ImportError) as error:
        raise BaseError(f"{part} cannot be loaded: {error}") from error


def load_image_processor(part: Path) -> CLIPImageProcessor:
    """How a picture becomes what CLIP looks at.

    Raises:
        BaseError: it cannot be read, or asks for huge pictures.
    """
    config = part / "preprocessor_config.json"
    try:
        told = read_json(config)
        check_own(told, config)
        check_numbers(told, MOST_SIDE_PX, config)
        return CLIPImageProcessor.from_pretrained(part, local_files_only=True)
    except (OSError, ValueError, TypeError) as error:
        raise BaseError(f"{part} cannot be loaded: {error}") from error


def load_scheduler(part: Path) -> SchedulerMixin:
    """Any of diffusers'.

    Raises:
        BaseError: it is none, cannot be read, or asks for huge tables.
    """
    config = part / "scheduler_config.json"
    try:
        told = read_json(config)
        check_numbers(told, _MOST_TIMESTEPS, config)
        kind = getattr(diffusers, str(told.get("_class_name")), None)
        if not (isinstance(kind, type) and issubclass(kind, SchedulerMixin)):
            raise BaseError(f"{part} is of class {told.get('_class_name')}, which is no scheduler of diffusers'")
        scheduler: Any = kind
        return scheduler.from_pretrained(part, local_files_only=True)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BaseError(f"{part} cannot be loaded: {error}") from error
