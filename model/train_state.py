"""The state from which a killed run goes on, bit for bit: trained tensors, AdamW's moments, the step, nothing else.

Belongs here: saving, finding and restoring it. Not here: the finished checkpoint (`checkpoint`). Noise, order and learning
rate are functions of the step, so no generator and no data position is part of a state.
"""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from model.files import sha256_file, whole_folder

_KEPT = 2
_MANIFEST = "state.json"
_TENSORS = "parameters.safetensors"
_MOMENTS = "optimizer.safetensors"


class TrainStateError(ValueError):
    """A saved state is torn or of another run."""


def save_state(
    folder: Path, step: int, loss_before: float, parameters: dict[str, nn.Parameter], optimizer: torch.optim.AdamW
) -> None:
    """Writes the state after `step` updates as `folder`/step-..., whole or not at all; keeps the last two."""
    target = folder / f"step-{step:07d}"
    with whole_folder(target) as temporary:
        save_file({name: value.detach().cpu().contiguous() for name, value in parameters.items()}, temporary / _TENSORS)
        moments = {
            f"{name}|{moment}": value.detach().cpu().contiguous()
            for name, parameter in parameters.items()
            # Nothing where no batch so far has reached one of two transformers.
            for moment, value in optimizer.state.get(parameter, {}).items()
        }
        save_file(moments, temporary / _MOMENTS)
        digests = {name: sha256_file(temporary / name) for name in (_TENSORS, _MOMENTS)}
        manifest = {"step": step, "loss_before": loss_before, "sha256": digests}
        (temporary / _MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
    for old in sorted(folder.glob("step-*"))[:-_KEPT]:
        shutil.rmtree(old)


def restore_state(folder: Path, parameters: dict[str, nn.Parameter], optimizer: torch.optim.AdamW) -> tuple[int, float] | None:
    """Puts the newest state in `folder` into parameters and optimiser.

    Returns:
        Updates done and the loss before the first, or None where no state is saved yet.

    Raises:
        TrainStateError: the newest state is torn; the message names the file and the remedy.
    """
    saved = sorted(folder.glob("step-*"))
    if not saved:
        return None
    newest = saved[-1]
    manifest = json.loads((newest / _MANIFEST).read_text())
    for name, recorded in manifest["sha256"].items():
        if sha256_file(newest / name) != recorded:
            raise TrainStateError(f"{newest / name} is torn: delete {newest} to go on from the state before it")
    tensors, moments = load_file(newest / _TENSORS), load_file(newest / _MOMENTS)
    if set(tensors) != set(parameters):
        raise TrainStateError(f"{newest} is the state of another run: delete {folder} to start anew")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[name])
            if f"{name}|step" not in moments:
                continue
            optimizer.state[parameter] = {
                # AdamW keeps its step count on the CPU wherever the parameters are. A copy, because safetensors maps
                # tensors at unaligned addresses, where CPU kernels round differently.
                moment: moments[f"{name}|{moment}"].to("cpu" if moment == "step" else parameter.device, copy=True)
                for moment in ("step", "exp_avg", "exp_avg_sq")
            }
    return manifest["step"], manifest["loss_before"]
