"""A model as a plain folder, for those without LaFID: parts for diffusers and ComfyUI, a loader of the face branch, a card.

    README.md             the card
    lora/, lora_2/        for `load_lora_weights`                              (where LoRA trained)
    comfyui/              the same, for ComfyUI: one file a transformer
    weights/, weights_2/  the base's own tensors that trained, by diffusers' keys
    adapter/, adapter_2/  the face branch
    base/                 of a base that has no public address, where the registry had it
    load_face_branch.py   puts it (and weights/) onto a stock pipeline, with the code in code/ and requirements.txt
    lafid.json            the folder is a checkpoint, too

Belongs here: writing it, whole or not at all. Not here: getting the model (`package.fetch`), the words of the card (`card`).
"""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers.loaders.lora_base import LORA_WEIGHT_NAME_SAFE
from safetensors.torch import load_file, save_file

from model.bases.digests import DIGESTS
from model.face_branch.trainable import ADAPTER, LORA, SUFFIXES
from model.files import require_free, whole_file, whole_folder
from model.release import LOADER, MANIFEST_FILE
from model.release.card import model_card
from model.release.checkpoint import Manifest, load_fusion, lora_scale, verify_checkpoint
from model.release.package import BASE
from model.untrusted_files import check_folder

_PACKAGE = Path(__file__).parents[1]
_NOISE = {(1, ""): "lafid", (2, ""): "lafid_high_noise", (2, "_2"): "lafid_low_noise"}


def write_pulled_folder(
    checkpoint_dir: Path,
    folder: Path,
    requirements: list[str],
    tags: Mapping[str, str],
    metrics: Mapping[str, float],
    base_dir: Path | None = None,
) -> Manifest:
    """Writes what others use of a checkpoint.

    Args:
        checkpoint_dir: it may be a stranger's.
        folder: it does not exist, or is empty.
        requirements: what the face branch needs installed.
        base_dir: of a base that travels with its model.

    Raises:
        FolderTaken: there is something in `folder`.
        CheckpointError: the checkpoint is not whole.
        ValueError: a part is not what its name says.
    """
    require_free(folder)
    manifest = verify_checkpoint(checkpoint_dir)
    with whole_folder(folder) as temporary:
        for part in manifest.parts:
            shutil.copytree(checkpoint_dir / part, temporary / part)
        shutil.copyfile(checkpoint_dir / MANIFEST_FILE, temporary / MANIFEST_FILE)
        verify_checkpoint(temporary)  # what was copied is what was looked at
        for suffix in SUFFIXES:
            if f"{ADAPTER}{suffix}" in manifest.parts:
                load_fusion(temporary / f"{ADAPTER}{suffix}")
            if f"{LORA}{suffix}" in manifest.parts:
                name = _NOISE[2 if manifest.base.boundary else 1, suffix]
                write_comfyui_lora(
                    temporary / f"{LORA}{suffix}" / LORA_WEIGHT_NAME_SAFE, temporary / "comfyui" / f"{name}.safetensors"
                )
        if base_dir is not None:
            check_folder(base_dir)
            shutil.copytree(base_dir, temporary / BASE, ignore=shutil.ignore_patterns(DIGESTS))
        shutil.copytree(_PACKAGE, temporary / "code" / _PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copyfile(_PACKAGE / "release" / LOADER, temporary / LOADER)
        (temporary / "requirements.txt").write_text("".join(f"{line}\n" for line in requirements))
        (temporary / "README.md").write_text(model_card(manifest, tags, metrics))
    return manifest


_KEY = re.compile(
    r"transformer\.(?P<block>(?:vace_)?blocks\.\d+)\.attn(?P<kind>[12])\.to_(?P<layer>\w+(?:\.0)?)\.lora_(?P<half>[AB])\.weight"
)
_KIND = {"1": "self_attn", "2": "cross_attn"}
_LAYER = {"q": "q", "k": "k", "v": "v", "out.0": "o"}
_HALF = {"A": "lora_down", "B": "lora_up"}


def write_comfyui_lora(lora: Path, path: Path) -> None:
    """Writes a checkpoint's LoRA file once more, for ComfyUI.

    Raises:
        ValueError: it is no LoRA of a checkpoint.
    """
    _, alpha = lora_scale(lora)
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in load_file(lora).items():
        found = _KEY.fullmatch(name)
        if found is None:
            raise ValueError(f"{lora} holds {name}, which has no name in ComfyUI")
        layer = f"diffusion_model.{found['block']}.{_KIND[found['kind']]}.{_LAYER[found['layer']]}"
        tensors[f"{layer}.{_HALF[found['half']]}.weight"] = tensor
        tensors[f"{layer}.alpha"] = torch.tensor(alpha)
    with whole_file(path) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})
