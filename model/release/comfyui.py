"""A LoRA in the form that ComfyUI reads: its own names of Wan's layers, and each layer's alpha as a tensor.

Belongs here: that renaming. Not here: the LoRA as diffusers has it (`checkpoint`).

ComfyUI looks for `diffusion_model.` and its network's own path (self_attn.q where diffusers says attn1.to_q), followed by
`lora_down.weight`, `lora_up.weight` and `alpha`; it scales by alpha / rank, and by 1 where there is no alpha (`comfy/lora.py` and
`comfy/weight_adapter/lora.py` of ComfyUI). The metadata by which diffusers knows alpha it does not read.
"""

import re
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from model.files import whole_file
from model.release.checkpoint import lora_scale

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
