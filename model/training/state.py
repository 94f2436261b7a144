"""The state from which a killed run goes on, bit for bit: trained tensors, AdamW's moments, the average, the step, nothing else.

Belongs here: saving, finding and restoring it. Not here: when it is saved, and that training goes on meanwhile
(`state_writer`); the finished checkpoint (`release.checkpoint`). Noise, order and learning rate are functions of the step, so no
generator and no data position is part of a state. Gradients that are being accumulated are not either: a state is the one after
an update, and a run that is killed between two begins the second anew.
"""

import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from model.files import sha256_file, whole_folder
from model.training.optimisation import MovingAverage

_MANIFEST = "state.json"
_TENSORS = "parameters.safetensors"
_MOMENTS = "optimizer.safetensors"
_AVERAGE = "average.safetensors"
_LOGGER = logging.getLogger("lafid.training")
StateFiles = Mapping[str, Mapping[str, torch.Tensor]]
"""A state's tensors by name, by file."""


class TrainStateError(ValueError):
    """A state cannot be written, or none of those that are there can be read."""


@dataclass(frozen=True)
class TrainState:
    """Everything of a run that changes from update to update."""

    parameters: dict[str, nn.Parameter]
    optimizer: torch.optim.AdamW
    average: MovingAverage | None

    def files(self) -> StateFiles:
        """The tensors themselves, not copies of them, by the file that holds them."""
        files: dict[str, Mapping[str, torch.Tensor]] = {_TENSORS: {**self.parameters}, _MOMENTS: _moments(self)}
        if self.average is not None:
            files[_AVERAGE] = self.average.tensors
        return files


def save_state(folder: Path, step: int, loss_before: float, files: StateFiles, keep: int) -> None:
    """Writes the state after `step` updates as `folder`/step-..., whole or not at all, then leaves the newest `keep`.

    A whole one that is there already stays; a torn one, which was passed over, makes way. All files are written at a time.

    Raises:
        TrainStateError: the disk is full or does not take it; the states before it are as they were.
    """
    target = folder / f"step-{step:07d}"
    if target.is_dir():
        if _torn(target) is None:
            return
        shutil.rmtree(target)
    with (
        naming_disk_errors(f"the state of step {step} in {folder}", folder),
        whole_folder(target) as temporary,
        ThreadPoolExecutor(len(files), "lafid-state-file") as pool,
    ):
        digests = dict(zip(files, pool.map(lambda name: _write(temporary / name, files[name]), files), strict=True))
        manifest = {"step": step, "loss_before": loss_before, "sha256": digests}
        (temporary / _MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
    for old in [*_saved(folder)[:-keep], *folder.glob(f".{target.name[:5]}*")]:
        shutil.rmtree(old)


def restore_state(folder: Path, state: TrainState) -> tuple[int, float] | None:
    """Puts the newest state in `folder` that is whole into `state`; a torn one is named in the log and passed over.

    Returns:
        Updates done and the loss before the first, or None where no state is saved yet.

    Raises:
        TrainStateError: all are torn, or they are another run's; the message names the remedy.
    """
    saved = _saved(folder)
    for path in reversed(saved):
        torn = _torn(path)
        if torn is None:
            step, loss_before = _load(path, state)
            _LOGGER.info("going on from step %d", step)
            return step, loss_before
        _LOGGER.warning("%s is torn: passing over %s, going on from the state before it", torn, path.name)
    if saved:
        raise TrainStateError(f"every state in {folder} is torn: delete it to start anew")
    return None


def newest_step(folder: Path) -> int | None:
    """Updates done in the newest state; None: there is none."""
    saved = _saved(folder)
    return int(saved[-1].name.removeprefix("step-")) if saved else None


@contextmanager
def naming_disk_errors(what: str, states: Path) -> Iterator[None]:
    """An error of the disk while `what` is written, as one line that says from where the run goes on.

    Args:
        states: the folder of the run's states, which stay as they are.

    Raises:
        TrainStateError: in its place.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        newest = newest_step(states)
        rest = f"the run goes on from step {newest}" if newest else "no state is saved yet"
        raise TrainStateError(
            f"{what} could not be written ({error}): free space on that disk and start again; {rest}"
        ) from error


def _write(path: Path, tensors: Mapping[str, torch.Tensor]) -> str:
    """The digest of the file."""
    save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, path)
    return sha256_file(path)


def _saved(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"))


def _moments(state: TrainState) -> dict[str, torch.Tensor]:
    return {
        f"{name}|{moment}": value
        for name, parameter in state.parameters.items()
        # Nothing where no batch so far has reached one of two transformers.
        for moment, value in state.optimizer.state.get(parameter, {}).items()
    }


def _torn(path: Path) -> Path | None:
    """The first file of a state that is not what was written; None: it is whole."""
    try:
        digests = json.loads((path / _MANIFEST).read_text())["sha256"]
    except (OSError, ValueError, KeyError):
        return path / _MANIFEST
    for name, recorded in digests.items():
        if not (path / name).is_file() or sha256_file(path / name) != recorded:
            return path / name
    return None


def _load(path: Path, state: TrainState) -> tuple[int, float]:
    manifest = json.loads((path / _MANIFEST).read_text())
    tensors, moments = load_file(path / _TENSORS), load_file(path / _MOMENTS)
    averaged = load_file(path / _AVERAGE) if state.average is not None and _AVERAGE in manifest["sha256"] else {}
    if set(tensors) != set(state.parameters) or (state.average is not None and set(averaged) != set(tensors)):
        raise TrainStateError(f"{path} is the state of another run: delete {path.parent} to start anew")
    fused = state.optimizer.defaults["fused"]
    with torch.no_grad():
        for name, parameter in state.parameters.items():
            parameter.copy_(tensors[name])
            if state.average is not None:
                state.average.tensors[name].copy_(averaged[name])
            if f"{name}|step" not in moments:
                continue
            state.optimizer.state[parameter] = {
                # AdamW keeps its step count on the CPU unless it is fused. A copy, because safetensors maps tensors at
                # unaligned addresses, where CPU kernels round differently.
                moment: moments[f"{name}|{moment}"].to("cpu" if moment == "step" and not fused else parameter.device, copy=True)
                for moment in ("step", "exp_avg", "exp_avg_sq")
            }
    return manifest["step"], manifest["loss_before"]
