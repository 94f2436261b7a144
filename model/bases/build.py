"""The tiny bases, built where they are first needed, and any base's transformer without its weights.

Belongs here: making a base of this project's own. Not here: taking a published one into use (`adopt`), reading one (`base`), the
sizes of the bases (`specs`).
"""

from pathlib import Path

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, WanTransformer3DModel, WanVACETransformer3DModel
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    PreTrainedTokenizerFast,
    UMT5Config,
    UMT5EncoderModel,
)

from model.bases.adopt import how_to_fetch
from model.bases.base import BaseInfo, read_base_info, write_base_info
from model.bases.codec import HaarCodec
from model.bases.components import BaseError, Transformer, no_progress_bars
from model.bases.digests import COMPONENTS, INFO_FILE, base_digest, component_digests
from model.bases.specs import TINY, BaseSpec
from model.files import whole_folder
from model.presets import TEXT_ROWS


def build_transformer(spec: BaseSpec) -> Transformer:
    """A base's transformer with fresh weights, on torch's default device; under `torch.device("meta")` with none at all."""
    kind = WanVACETransformer3DModel if spec.transformer.vace_layers else WanTransformer3DModel
    return kind(**spec.transformer.arguments())


def ensure_base(spec: BaseSpec, folder: Path) -> BaseInfo:
    """The base in `folder`; a tiny one is built if it is not there yet.

    Raises:
        BaseError: a real one is not there; the message says how it gets there. Or another one is.
    """
    if not (folder / INFO_FILE).is_file():
        if spec.repository is None:
            return build_tiny_base(folder, spec=spec)
        raise BaseError(f"base {spec.name} is not in {folder}: {how_to_fetch(spec, folder, spec.revision)}")
    info = read_base_info(folder)
    if info.name != spec.name:
        raise BaseError(f"{folder} holds base {info.name}, not {spec.name}: give each its own folder")
    return info


def build_tiny_base(folder: Path, seed: int = 0, spec: BaseSpec = TINY) -> BaseInfo:
    """Writes a tiny base with random weights unless `folder` already holds a base, and says what it is.

    The layout is the spec's; TINY's is Wan2.2 TI2V-5B's: as many channels in as out, a timestep a token, no CLIP branch in the
    transformer, so that the tiny CLIP serves the semantic expert alone.
    """
    if (folder / INFO_FILE).is_file():
        return read_base_info(folder)
    with no_progress_bars(), torch.random.fork_rng(devices=[]), whole_folder(folder) as temporary:
        torch.manual_seed(seed)
        parts = temporary / COMPONENTS
        HaarCodec().save_config(parts / "vae")
        text = UMT5Config(vocab_size=128, d_model=spec.transformer.text_dim, d_kv=16, d_ff=128, num_layers=2, num_heads=4)
        UMT5EncoderModel(text).save_pretrained(parts / "text_encoder")
        _character_tokenizer().save_pretrained(parts / "tokenizer")
        vision = CLIPVisionConfig(
            hidden_size=64, intermediate_size=128, num_hidden_layers=3, num_attention_heads=4, image_size=64, patch_size=8
        )
        CLIPVisionModel(vision).save_pretrained(parts / "image_encoder")
        side = {"height": 64, "width": 64}
        CLIPImageProcessor(size={"shortest_edge": 64}, crop_size=side).save_pretrained(parts / "image_processor")
        for name in ("transformer", "transformer_2")[: spec.experts]:
            build_transformer(spec).save_pretrained(parts / name)
        FlowMatchEulerDiscreteScheduler(shift=3.0).save_pretrained(parts / "scheduler")
        info = BaseInfo(
            name=spec.name,
            layout=spec.layout,
            repository=None,
            revision=None,
            boundary=spec.boundary,
            sha256=base_digest(component_digests(temporary)),
        )
        write_base_info(temporary, info)
    return info


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
