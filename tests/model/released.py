"""Snapshots in the form in which the real bases are published, only as narrow as a test can afford.

Belongs here: the released files - their names, keys, number formats and configs - for every layout, and what `hf download` leaves
beside them. Not here: bases of this project's own making (`layouts`, `model.bases.build`).

Sources: diffusers' conversion scripts and the repositories Wan-AI/*-Diffusers; the records of a download as huggingface_hub's
`_local_folder` writes them.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel, T5TokenizerFast, UMT5Config, UMT5EncoderModel

from model.bases.build import build_transformer
from model.bases.specs import WAN21_I2V_14B, WAN21_T2V_1B, WAN21_VACE_1B, WAN22_I2V_A14B, WAN22_T2V_A14B, WAN22_TI2V_5B, BaseSpec

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_HEADS, _HEAD_WIDTH, _TEXT_WIDTH, _CLIP_WIDTH = 2, 12, 32, 32
_PIPELINES = {"t2v": "WanPipeline", "ti2v": "WanPipeline", "i2v": "WanImageToVideoPipeline", "vace": "WanVACEPipeline"}
_SENTENCES = (
    "The video features a woman who turns her head to the left and smiles.",
    "A man speaks on screen, then looks down at his hands.",
    "No voice is heard; the camera does not move.",
    "Two people walk along a street at night in the rain.",
)


def _narrow(spec: BaseSpec) -> BaseSpec:
    """The same base with blocks that a test can afford; channels, layout, experts and address stay."""
    wide = spec.transformer
    widths: dict[str, Any] = {"num_attention_heads": _HEADS, "attention_head_dim": _HEAD_WIDTH, "ffn_dim": 32, "num_layers": 2}
    widths |= {"text_dim": _TEXT_WIDTH, "freq_dim": 32}
    if wide.image_dim is not None:
        widths |= {"image_dim": _CLIP_WIDTH, "added_kv_proj_dim": _HEADS * _HEAD_WIDTH}
    if wide.vace_layers is not None:
        widths |= {"vace_layers": (0,)}
    return spec.model_copy(update={"transformer": wide.model_copy(update=widths)})


RELEASED = {
    spec.name: _narrow(spec)
    for spec in (WAN21_T2V_1B, WAN21_I2V_14B, WAN22_TI2V_5B, WAN22_I2V_A14B, WAN22_T2V_A14B, WAN21_VACE_1B)
}
"""Every layout by the name of its base."""


def write_snapshot(folder: Path, spec: BaseSpec, *, commit: str | None = COMMIT) -> None:
    """What `hf download REPOSITORY --local-dir FOLDER` leaves of a base.

    Args:
        folder: of the snapshot.
        spec: one of `RELEASED`.
        commit: that the download records; None: no record, as after a copy or a clone.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for name in ("transformer", "transformer_2")[: spec.experts]:
            _write_transformer(folder / name, spec)
        _write_vae(folder / "vae", spec)
        vocabulary = _write_tokenizer(folder / "tokenizer")
        _write_text_encoder(folder / "text_encoder", vocabulary)
        if spec.transformer.image_dim is not None:
            _write_image_encoder(folder)
    _write_scheduler(folder / "scheduler", spec)
    _write_json(folder / "model_index.json", _model_index(spec))
    (folder / "README.md").write_text(f"# {spec.repository}\n")
    if commit is not None:
        record_download(folder, commit)


def write_vision_encoder(folder: Path) -> Path:
    """A CLIP as `save_pretrained` leaves it, for bases that bring no semantic encoder."""
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        CLIPVisionModel(CLIPVisionConfig(**sizes, image_size=56, patch_size=14)).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}).save_pretrained(folder)
    return folder


def store_as(part: Path, dtype: torch.dtype) -> None:
    """Rewrites a network of transformers' in another number format, which its config names."""
    [weights] = part.glob("*.safetensors")
    _save({name: tensor.to(dtype) for name, tensor in load_file(weights).items()}, weights)
    config = json.loads((part / "config.json").read_text())
    config.pop("dtype", None)
    _write_json(part / "config.json", config | {"torch_dtype": str(dtype).removeprefix("torch.")})


def record_download(folder: Path, commit: str) -> None:
    """The record beside every file: commit, etag (sha256 of what lies in Git LFS, else git's own hash), time."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and ".cache" not in path.parts]
    for path in files:
        content = path.read_bytes()
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        etag = hashlib.sha256(content).hexdigest() if path.suffix == ".safetensors" else blob
        record = folder / ".cache" / "huggingface" / "download" / f"{path.relative_to(folder).as_posix()}.metadata"
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(f"{commit}\n{etag}\n{path.stat().st_mtime + 1}\n")


def _write_transformer(part: Path, spec: BaseSpec) -> None:
    transformer = build_transformer(spec)
    with torch.no_grad():
        # Fresh Wan weights end in zeros, behind which nothing of a model would be seen.
        for parameter in transformer.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn_like(parameter) * 0.05)
    _write_shards(part, transformer.state_dict(), "diffusion_pytorch_model")
    config = {name: value for name, value in transformer.config.items() if not name.startswith("_")}
    released = {"patch_size": [1, 2, 2], "pos_embed_seq_len": None}
    _write_json(part / "config.json", _of_diffusers(type(transformer).__name__) | config | released)


def _write_vae(part: Path, spec: BaseSpec) -> None:
    narrow = {"base_dim": 4, "z_dim": spec.latent_channels, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1}
    narrow |= {"temperal_downsample": [False, True, True], "attn_scales": [], "dropout": 0.0}
    config: dict[str, Any] = narrow | {"latents_mean": [0.1] * spec.latent_channels, "latents_std": [0.7] * spec.latent_channels}
    if spec.latent_channels == 48:
        config |= {"decoder_base_dim": 4, "in_channels": 12, "out_channels": 12, "is_residual": True, "patch_size": 2}
        config |= {"scale_factor_spatial": spec.spatial_factor, "scale_factor_temporal": 4}
    part.mkdir(parents=True)
    _save(AutoencoderKLWan(**config).state_dict(), part / "diffusion_pytorch_model.safetensors")
    _write_json(part / "config.json", _of_diffusers("AutoencoderKLWan") | config)


def _write_tokenizer(part: Path) -> int:
    """A unigram tokenizer of T5's form, trained on the spot.

    Returns:
        Its number of tokens.
    """
    trained = Tokenizer(models.Unigram())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    specials = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=200, special_tokens=specials, unk_token="<unk>", show_progress=False)
    trained.train_from_iterator(_SENTENCES, trainer)
    vocabulary = [tuple(entry) for entry in json.loads(trained.to_str())["model"]["vocab"]]
    tokenizer = T5TokenizerFast(vocab=vocabulary, extra_ids=4, model_max_length=512)
    tokenizer.save_pretrained(part)
    return len(tokenizer)


def _write_text_encoder(part: Path, vocabulary: int) -> None:
    """The encoder's embedding is the shared one, which alone is stored, whatever `tie_word_embeddings` says."""
    sizes = {"vocab_size": vocabulary, "d_model": _TEXT_WIDTH, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
    sizes |= {"feed_forward_proj": "gated-gelu", "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128}
    encoder = UMT5EncoderModel(UMT5Config(**sizes))
    stored = {name: tensor for name, tensor in encoder.state_dict().items() if name != "encoder.embed_tokens.weight"}
    stored["shared.weight"] = torch.randn_like(stored["shared.weight"])
    _write_shards(part, stored, "model")
    released = {"_name_or_path": "google/umt5-xxl", "architectures": ["UMT5EncoderModel"], "model_type": "umt5"}
    released |= {"dense_act_fn": "gelu_new", "is_gated_act": True, "is_encoder_decoder": True, "num_decoder_layers": 2}
    released |= {
        "tie_word_embeddings": False,
        "tokenizer_class": "T5Tokenizer",
        "torch_dtype": "bfloat16",
        "scalable_attention": True,
    }
    released |= {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0, "transformers_version": "4.48.0.dev0"}
    _write_json(part / "config.json", sizes | released)


def _write_image_encoder(folder: Path) -> None:
    """CLIP under the names that it had before transformers 5."""
    sizes = {"hidden_size": _CLIP_WIDTH, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
    sizes |= {"image_size": 224, "patch_size": 14, "hidden_act": "gelu", "projection_dim": 16}
    encoder = CLIPVisionModel(CLIPVisionConfig(**sizes))
    part = folder / "image_encoder"
    part.mkdir(parents=True)
    stored = {f"vision_model.{name.removeprefix('vision_model.')}": tensor for name, tensor in encoder.state_dict().items()}
    _save(stored, part / "model.safetensors")
    released = {"architectures": ["CLIPVisionModel"], "model_type": "clip_vision_model", "torch_dtype": "float32"}
    _write_json(part / "config.json", sizes | released | {"transformers_version": "4.49.0.dev0"})
    CLIPImageProcessor().save_pretrained(folder / "image_processor")


def _write_scheduler(part: Path, spec: BaseSpec) -> None:
    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=spec.flow_shift_480p, solver_order=2
    )
    scheduler.save_pretrained(part)


def _model_index(spec: BaseSpec) -> dict[str, Any]:
    transformer = ["diffusers", "WanVACETransformer3DModel" if spec.transformer.vace_layers else "WanTransformer3DModel"]
    index: dict[str, Any] = _of_diffusers(_PIPELINES[spec.layout]) | {
        "scheduler": ["diffusers", "UniPCMultistepScheduler"],
        "text_encoder": ["transformers", "UMT5EncoderModel"],
        "tokenizer": ["transformers", "T5TokenizerFast"],
        "transformer": transformer,
        "vae": ["diffusers", "AutoencoderKLWan"],
    }
    if spec.experts == 2:
        index |= {"boundary_ratio": spec.boundary, "transformer_2": transformer}
    if spec.layout == "ti2v":
        index |= {"boundary_ratio": None, "expand_timesteps": True, "transformer_2": [None, None]}
    if spec.transformer.image_dim is not None:
        index |= {"image_encoder": ["transformers", "CLIPVisionModel"], "image_processor": ["transformers", "CLIPImageProcessor"]}
    elif spec.layout == "i2v":
        index |= {"image_encoder": [None, None], "image_processor": [None, None]}
    return index


def _write_shards(part: Path, tensors: Mapping[str, torch.Tensor], stem: str) -> None:
    """Two bf16 shards and their index."""
    part.mkdir(parents=True)
    stored = {name: tensor.to(torch.bfloat16) for name, tensor in tensors.items()}
    names = list(stored)
    weight_map = {}
    for number, held in enumerate((names[: len(names) // 2], names[len(names) // 2 :]), 1):
        shard = f"{stem}-{number:05d}-of-00002.safetensors"
        _save({name: stored[name] for name in held}, part / shard)
        weight_map |= dict.fromkeys(held, shard)
    size = sum(tensor.nbytes for tensor in stored.values())
    _write_json(part / f"{stem}.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": weight_map})


def _save(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, path, metadata={"format": "pt"})


def _of_diffusers(kind: str) -> dict[str, Any]:
    return {"_class_name": kind, "_diffusers_version": "0.33.0.dev0"}


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")
