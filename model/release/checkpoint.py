"""A checkpoint on disk: a folder of parts and `lafid.json`, which says what they are and what they belong to.

    adapter/   the FaceFusion: config.json and safetensors
    lora/      LoRA on the base's attention, as diffusers writes it     (where LoRA trains)
    weights/   the base's own tensors that were trained, by their keys  (where the base trains)
    lafid.json

A base of two transformers has each of these twice, the second time as adapter_2/, lora_2/, weights_2/. Without LaFID
`WanPipeline.load_lora_weights(folder / "lora")` reads the LoRA, and with `load_into_transformer_2=True` that of `lora_2`.

Belongs here: writing, verifying and loading it. Not here: the state a killed run resumes from (`training.state`).
"""

import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import torch
from diffusers.loaders import PeftAdapterMixin
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY, LORA_WEIGHT_NAME_SAFE
from peft.utils import get_peft_model_state_dict
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from model.bases.base import Base, BaseInfo
from model.bases.components import Transformer, made_up, own_memory
from model.encoding.head_mask import MaskInfo
from model.face_branch.attach import attach
from model.face_branch.fusion import FaceFusion
from model.face_branch.trainable import ADAPTER, LORA, LORA_NAME, LORA_TARGETS, SUFFIXES, WEIGHTS, FusedModel
from model.files import sha256_folder, whole_folder
from model.likeness import Likeness
from model.presets import Preset
from model.release import MANIFEST_FILE
from model.strict import StrictModel
from model.untrusted_files import MOST_SIDE_PX, Untrustworthy, check_config, check_folder, check_numbers, read_json, stored_shapes
from model.wording import first_few

FORMAT: Final = 4
_WEIGHTS_FILE = "weights.safetensors"
PARTS: Final = frozenset(f"{part}{suffix}" for part in (ADAPTER, LORA, WEIGHTS) for suffix in SUFFIXES)
"""Whatever else a manifest names is no part."""
_SUFFIXES: Final = (".json", ".safetensors")
_LORA_KEY = re.compile(rf"transformer\.({LORA_TARGETS})\.lora_([AB])\.weight")
_LORA_PREFIX = "transformer"
"""How keys begin in every LoRA file, the second transformer's included: diffusers' pipelines look for it."""


class CheckpointError(ValueError):
    """A checkpoint is missing, torn, or belongs to something else; the message names the part."""


class EmbeddingSource(StrictModel):
    """The face engine whose identity embeddings the adapter was trained on; another's mean nothing to it."""

    name: str
    version: str
    width: int


class Manifest(StrictModel):
    """`lafid.json`."""

    format_version: Literal[4] = FORMAT
    preset: Preset
    base: BaseInfo
    face_engine: EmbeddingSource
    encoders_fingerprint: str
    head_mask: MaskInfo = MaskInfo()
    """What cut the heads out that it was trained on; generation uses the same."""
    parts: dict[str, str]
    """Part to the hash of its files."""
    dataset_version: str
    seed: int
    step: int
    averaged: bool = False
    """Its tensors are the moving average of those that were trained."""
    loss_before: float
    loss_after: float
    """Mean flow loss over the run's fixed triples."""
    validation_loss: float | None = None
    """The same over fixed triples of the clips that judge; None: the run judges no checkpoint on its way."""
    validated_on: Literal["validation", "train"] | None = None
    """The split of those clips; train where the validation split is empty."""
    likeness: Likeness | None = None
    """Of the held-out persons that it drew; None where none was drawn, or not all of them could be."""

    judged_by: Literal["likeness", "loss"] | None = None
    """What decides whether it is the best: the loss only where there is no likeness; None: it is not judged."""

    def after_drawing(self, likeness: Likeness | None) -> "Manifest":
        """The same with the likeness of what was drawn, where there is one."""
        return self if likeness is None else self.model_copy(update={"likeness": likeness, "judged_by": "likeness"})


def write_checkpoint(folder: Path, model: FusedModel, manifest: Manifest) -> Manifest:
    """Writes `model`'s trained parts, whole or not at all; the manifest then names them."""
    trained = model.trainable()
    kinds = {name.split("/", 1)[0] for name in trained}
    with whole_folder(folder) as temporary:
        for suffix, (transformer, fusion) in zip(SUFFIXES, model.attached, strict=False):
            fusion.save_pretrained(temporary / f"{ADAPTER}{suffix}")
            if f"{LORA}{suffix}" in kinds:
                _save_lora(transformer, temporary / f"{LORA}{suffix}")
            if f"{WEIGHTS}{suffix}" in kinds:
                _save_weights(trained, temporary / f"{WEIGHTS}{suffix}")
        parts = {part.name: sha256_folder(part) for part in sorted(temporary.iterdir())}
        written = manifest.model_copy(update={"parts": parts})
        (temporary / MANIFEST_FILE).write_text(written.model_dump_json(indent=2) + "\n")
    return written


def read_manifest(folder: Path) -> Manifest:
    """What the checkpoint in `folder` says of itself; its parts are not read.

    Raises:
        CheckpointError: there is none, or another version of LaFID wrote it.
    """
    path = folder / MANIFEST_FILE
    try:
        told = read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(f"{folder} holds no checkpoint: {MANIFEST_FILE} is missing") from None
    except Untrustworthy as error:
        raise CheckpointError(f"{path} is no manifest: {error}") from error
    if not isinstance(told, dict):
        raise CheckpointError(f"{path} is no manifest: it is no object")
    if told.get("format_version") != FORMAT:
        raise CheckpointError(
            f"{folder} is a checkpoint of format {told.get('format_version')}, this LaFID reads format {FORMAT}: train it anew, "
            "or use the LaFID that wrote it"
        )
    try:
        manifest = Manifest(**told)
        check_numbers(manifest.preset.encoders.model_dump(), MOST_SIDE_PX, path)
        check_numbers({"view_side": manifest.preset.clip.view_side}, MOST_SIDE_PX, path)
    except (TypeError, ValidationError, Untrustworthy) as error:
        raise CheckpointError(f"{path} is no manifest of format {FORMAT}: {error}") from error
    if foreign := sorted(manifest.parts.keys() - PARTS):
        raise CheckpointError(f"{path} names a part {foreign[0]!r}, a checkpoint's are {', '.join(sorted(PARTS))}")
    return manifest


def verify_checkpoint(folder: Path) -> Manifest:
    """What the checkpoint in `folder` says of itself, every part compared with its hash.

    Raises:
        CheckpointError: there is none, or a part is missing, torn, or more than files of tensors.
    """
    manifest = read_manifest(folder)
    for part, recorded in manifest.parts.items():
        _check_part(folder / part, recorded)
    return manifest


def load_checkpoint(folder: Path, base: Base) -> FusedModel:
    """Puts a checkpoint onto a freshly loaded `base`, in evaluation mode and without gradients.

    Raises:
        CheckpointError: a part is missing, torn or does not fit, or `base` is another than it was trained on.
    """
    manifest = verify_checkpoint(folder)
    if manifest.base != base.info:
        raise CheckpointError(f"{folder} was trained on base {manifest.base}, not on {base.info}: give it its own base")
    fusions = [
        load_onto(folder, suffix, transformer, manifest) for suffix, transformer in zip(SUFFIXES, base.transformers, strict=False)
    ]
    return FusedModel(base, *fusions)


def load_onto(folder: Path, suffix: str, transformer: Transformer, manifest: Manifest, *, with_lora: bool = True) -> FaceFusion:
    """One transformer's parts: its fusion, attached, and what was trained of the transformer itself.

    Args:
        folder: that `verify_checkpoint` has passed.
        with_lora: without, the LoRA was loaded by other means.

    Raises:
        CheckpointError: a part does not fit.
    """
    adapter, lora, weights = (f"{part}{suffix}" for part in (ADAPTER, LORA, WEIGHTS))
    if adapter not in manifest.parts:
        raise CheckpointError(f"part {adapter} of {folder} is missing: the base has two transformers, it is for one")
    with _naming_part(folder / adapter):
        fusion = load_fusion(folder / adapter)
        fusion.to(transformer.device)
        attach(fusion, transformer)
    if lora in manifest.parts and with_lora:
        with _naming_part(folder / lora):
            _load_lora(transformer, folder / lora)
    if weights in manifest.parts:
        with _naming_part(folder / weights):
            _load_weights(transformer, finite(load_file(folder / weights / _WEIGHTS_FILE)))
    own_memory(transformer)
    transformer.eval().requires_grad_(False)
    return fusion.eval().requires_grad_(False)


def load_fusion(part: Path) -> FaceFusion:
    """The face branch in a checkpoint's part.

    Raises:
        ValueError: it is not whole, asks for more than its files hold, or holds numbers that are none.
    """
    config = part / FaceFusion.config_name
    told, stored = read_json(config), stored_shapes(part)
    check_config(told, stored, lambda: FaceFusion.from_config(told), config)
    fusion, loading = FaceFusion.from_pretrained(part, output_loading_info=True, use_safetensors=True, local_files_only=True)
    if lacking := made_up(loading):
        raise ValueError(f"it lacks {first_few(lacking, 5)}")
    own_memory(fusion)
    finite(fusion.state_dict())
    return fusion


def finite(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same tensors, or a ValueError: one holds what is no number, as after a training that diverged."""
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{name} holds numbers that are not finite: the training diverged, take an earlier checkpoint")
    return tensors


def _save_weights(trained: dict[str, torch.nn.Parameter], part: Path) -> None:
    part.mkdir()
    tensors = {
        name.removeprefix(f"{part.name}/"): value.detach().cpu().contiguous()
        for name, value in trained.items()
        if name.startswith(f"{part.name}/")
    }
    save_file(tensors, part / _WEIGHTS_FILE)


def _save_lora(transformer: PeftAdapterMixin, part: Path) -> None:
    """What `load_lora_weights` and `load_lora_adapter` read: keys and config of the adapter, rank and alpha in it, prefixed.

    diffusers' own `save_lora_weights` writes two entries of metadata, which safetensors orders at random: equal LoRAs would
    be unequal files.
    """
    part.mkdir()
    config = transformer.peft_config[LORA_NAME].to_dict()
    plain = {f"{_LORA_PREFIX}.{name}": sorted(value) if isinstance(value, set) else value for name, value in config.items()}
    tensors = get_peft_model_state_dict(transformer, adapter_name=LORA_NAME)
    save_file(
        {f"{_LORA_PREFIX}.{name}": value.detach().cpu().contiguous() for name, value in tensors.items()},
        part / LORA_WEIGHT_NAME_SAFE,
        metadata={LORA_ADAPTER_METADATA_KEY: json.dumps(plain, sort_keys=True)},
    )


def _load_lora(transformer: PeftAdapterMixin, part: Path) -> None:
    """Takes rank and alpha alone from the file's own config: peft would follow the rest to other modules, and import some."""
    path = part / LORA_WEIGHT_NAME_SAFE
    rank, alpha = lora_scale(path)
    config = {"r": rank, "lora_alpha": alpha, "target_modules": LORA_TARGETS}
    transformer.load_lora_adapter(
        finite(load_file(path)),
        prefix=_LORA_PREFIX,
        adapter_name=LORA_NAME,
        metadata={f"{_LORA_PREFIX}.{name}": value for name, value in config.items()},
    )


def lora_scale(path: Path) -> tuple[int, float]:
    """Rank and alpha of a LoRA file of a checkpoint.

    Raises:
        ValueError: it is none: a layer is not among those that train, lacks its other half, or is of another rank.
    """
    with safe_open(path, "pt") as file:
        told = json.loads((file.metadata() or {}).get(LORA_ADAPTER_METADATA_KEY, "{}"))
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (no mapping)
    rank, alpha = (told.get(f"{_LORA_PREFIX}.{name}") for name in ("r", "lora_alpha"))
    if not isinstance(rank, int) or not isinstance(alpha, int | float) or not 0 < alpha < math.inf:
        raise ValueError(f"it says neither rank nor alpha ({rank}, {alpha})")
    if not shapes:
        raise ValueError("it holds no tensor")
    for name, shape in shapes.items():
        found = _LORA_KEY.fullmatch(name)
        if found is None:
            raise ValueError(f"it holds {name}, which is no LoRA of this project's")
        half = found[found.re.groups]
        if len(shape) != 2 or shape[0 if half == "A" else 1] != rank:
            raise ValueError(f"{name} has shape {shape}, the rank is {rank}")
        other = name.replace(f".lora_{half}.", f".lora_{'B' if half == 'A' else 'A'}.")
        if other not in shapes:
            raise ValueError(f"it lacks {other}")
    return rank, float(alpha)


def _load_weights(transformer: torch.nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    unknown = transformer.load_state_dict(tensors, strict=False).unexpected_keys
    if unknown:
        raise ValueError(f"the base has no tensor {unknown[0]}")


def _check_part(part: Path, recorded: str) -> None:
    if not part.is_dir():
        raise CheckpointError(f"part {part.name} of {part.parent} is missing: copy the whole folder again")
    try:
        check_folder(part, _SUFFIXES)
    except Untrustworthy as error:
        raise CheckpointError(f"part {part.name} of {part.parent}: {error}") from error
    found = sha256_folder(part)
    if found != recorded:
        raise CheckpointError(
            f"part {part.name} of {part.parent} is torn or changed: recorded sha256 {recorded[:12]}, found {found[:12]}"
        )


@contextmanager
def _naming_part(part: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, RuntimeError, OSError, KeyError, TypeError, SafetensorError) as error:
        raise CheckpointError(f"part {part.name} of {part.parent} does not fit this base: {error}") from error
