"""The frozen base as one folder of diffusers and transformers components: building the tiny one, loading any.

Belongs here: which components a base has, where they lie and the hash that names it. Not here: what is trained on top
(`fusion`, `checkpoint`) or how a video is drawn (`pipeline`).
"""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, WanImageToVideoPipeline, WanTransformer3DModel
from pydantic import BaseModel, ConfigDict
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch import nn
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    PreTrainedTokenizerFast,
    UMT5Config,
    UMT5EncoderModel,
)
from transformers.utils import logging as transformers_logging

from model.codec import HaarCodec
from model.files import sha256_folder, whole_folder
from model.presets import TEXT_ROWS

_INFO_FILE = "base.json"
_COMPONENTS = "components"
_PIPELINE_MULTIPLE_PX = 16  # diffusers checks it whatever the VAE


class BaseError(ValueError):
    """A base folder is missing, incomplete or changed."""


class BaseInfo(BaseModel):
    """What names a base: checkpoints refuse any other."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sha256: str
    """Over the names and bytes of all component files."""


@dataclass(frozen=True)
class Base:
    """A loaded base. Everything but what the trainer explicitly unfreezes stays as it is."""

    info: BaseInfo
    transformer: WanTransformer3DModel
    codec: HaarCodec
    text_encoder: UMT5EncoderModel
    tokenizer: PreTrainedTokenizerFast
    image_encoder: CLIPVisionModel
    image_processor: CLIPImageProcessor
    scheduler: FlowMatchEulerDiscreteScheduler

    @property
    def size_multiple_px(self) -> int:
        """Height and width of a video are multiples of this."""
        ours = self.codec.config.scale_factor_spatial * self.transformer.config.patch_size[1]
        return math.lcm(ours, _PIPELINE_MULTIPLE_PX)

    def image_to_video(self, transformer: nn.Module | None = None) -> WanImageToVideoPipeline:
        """diffusers' own pipeline over these components, with the first latent given clean (Wan2.2 TI2V).

        `transformer` may be a stand-in with the interface of the base's own.
        """
        pipeline = WanImageToVideoPipeline(
            tokenizer=self.tokenizer,
            text_encoder=self.text_encoder,
            vae=self.codec,
            scheduler=self.scheduler,
            transformer=transformer or self.transformer,
            expand_timesteps=True,
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline


def build_tiny_base(folder: Path, seed: int = 0) -> BaseInfo:
    """Writes the tiny base with random weights unless `folder` already holds a base, and says what it is.

    The layout is Wan2.2 TI2V-5B's: as many channels in as out, a timestep a token, no CLIP branch in the transformer. The
    tiny CLIP serves the semantic expert alone.
    """
    if (folder / _INFO_FILE).is_file():
        return read_base_info(folder)
    with _no_progress_bars(), torch.random.fork_rng(devices=[]), whole_folder(folder) as temporary:
        torch.manual_seed(seed)
        parts = temporary / _COMPONENTS
        codec = HaarCodec()
        codec.save_config(parts / "codec")
        text = UMT5Config(vocab_size=128, d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4)
        UMT5EncoderModel(text).save_pretrained(parts / "text_encoder")
        _character_tokenizer().save_pretrained(parts / "tokenizer")
        vision = CLIPVisionConfig(
            hidden_size=64, intermediate_size=128, num_hidden_layers=3, num_attention_heads=4, image_size=64, patch_size=8
        )
        CLIPVisionModel(vision).save_pretrained(parts / "image_encoder")
        side = {"height": 64, "width": 64}
        CLIPImageProcessor(size={"shortest_edge": 64}, crop_size=side).save_pretrained(parts / "image_processor")
        transformer = WanTransformer3DModel(
            patch_size=(1, 2, 2),
            num_attention_heads=4,
            attention_head_dim=48,
            in_channels=codec.config.z_dim,
            out_channels=codec.config.z_dim,
            text_dim=text.d_model,
            freq_dim=64,
            ffn_dim=384,
            num_layers=2,
            rope_max_seq_len=128,
        )
        transformer.save_pretrained(parts / "transformer")
        FlowMatchEulerDiscreteScheduler(shift=3.0).save_pretrained(parts / "scheduler")
        info = BaseInfo(name="tiny", sha256=sha256_folder(parts))
        (temporary / _INFO_FILE).write_text(info.model_dump_json(indent=2) + "\n")
    return info


def read_base_info(folder: Path) -> BaseInfo:
    """Name and recorded hash of the base in `folder`; its weights are not read.

    Raises:
        BaseError: there is no base.
    """
    try:
        return BaseInfo(**json.loads((folder / _INFO_FILE).read_text()))
    except FileNotFoundError:
        raise BaseError(f"{folder} holds no base ({_INFO_FILE} is missing): build it with build_tiny_base") from None


def load_base(folder: Path, device: torch.device | str | None = None) -> Base:
    """All components in evaluation mode, without gradients, on `device` (the GPU where there is one).

    Raises:
        BaseError: there is no base, or its files are not those it was recorded with.
    """
    info = read_base_info(folder)
    parts = folder / _COMPONENTS
    found = sha256_folder(parts)
    if found != info.sha256:
        raise BaseError(f"base {folder} changed: recorded sha256 {info.sha256[:12]}, found {found[:12]}; restore it")
    target = pick_device(device)
    with _no_progress_bars():
        frozen = {
            "transformer": WanTransformer3DModel.from_pretrained(parts / "transformer"),
            "codec": HaarCodec.from_config(HaarCodec.load_config(parts / "codec")),
            "text_encoder": UMT5EncoderModel.from_pretrained(parts / "text_encoder"),
            "image_encoder": CLIPVisionModel.from_pretrained(parts / "image_encoder"),
        }
    for module in frozen.values():
        own_memory(module)
    return Base(
        info=info,
        tokenizer=PreTrainedTokenizerFast.from_pretrained(parts / "tokenizer"),
        image_processor=CLIPImageProcessor.from_pretrained(parts / "image_processor"),
        scheduler=FlowMatchEulerDiscreteScheduler.from_pretrained(parts / "scheduler"),
        **{name: module.to(target).eval().requires_grad_(False) for name, module in frozen.items()},
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
def _no_progress_bars() -> Iterator[None]:
    """transformers draws a bar for every component, however small; a base of milliseconds needs none."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def _character_tokenizer() -> PreTrainedTokenizerFast:
    """One token a printable ASCII character, with T5's specials: needs no vocabulary file."""
    vocabulary = {"<pad>": 0, "</s>": 1, "<unk>": 2} | {chr(code): code - 29 for code in range(32, 127)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=TEXT_ROWS
    )
