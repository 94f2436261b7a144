"""What turns gradients into an update: the schedule, the norms of a gradient's parts, clipping, the moving average.

Belongs here: functions of the step and of named tensors. Not here: what a loss is (`objective`), the loop (`train`).
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from model.face_branch.trainable import ADAPTER, LORA
from model.presets import TrainConfig


def schedule(config: TrainConfig, step: int) -> float:
    """Linear warmup, then cosine to zero, as a share of each part's peak rate; a function of the step alone."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * progress))


def rated_groups(parameters: Mapping[str, nn.Parameter], config: TrainConfig) -> list[dict[str, Any]]:
    """AdamW's groups, in a fixed order: what begins fresh, the aligner and pretrained weights have a rate each.

    Args:
        parameters: as `FusedModel.trainable` names them.
        config: of their rates.

    Returns:
        `name`, `params` and `peak_lr` of each that has parameters; `set_rates` turns the last into a step's `lr`.
    """
    rates = {"adapter": config.lr, "aligner": config.aligner_lr, LORA: config.lr, "base": config.base_lr}
    groups = [
        {"name": rated, "params": [value for name, value in parameters.items() if _rated(name) == rated], "peak_lr": rate}
        for rated, rate in rates.items()
    ]
    return [group for group in groups if group["params"]]


def set_rates(optimizer: torch.optim.Optimizer, config: TrainConfig, step: int) -> dict[str, float]:
    """Gives every group its rate of update number `step`; the rates by name."""
    share = schedule(config, step)
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * share
    return {group["name"]: group["lr"] for group in optimizer.param_groups}


def clip_gradients(optimizer: torch.optim.Optimizer, most: float) -> None:
    """Clips the gradient of the aligner, which has a loss of its own, and that of everything else to a norm of `most` each.

    Clipped as one, a contrastive gradient many times larger would leave next to nothing of the other.
    """
    parts: dict[bool, list[nn.Parameter]] = {}
    for group in optimizer.param_groups:
        parts.setdefault(group["name"] == "aligner", []).extend(group["params"])
    for part in parts.values():
        torch.nn.utils.clip_grad_norm_(part, most)


def _rated(name: str) -> str:
    part, key = name.split("/", 1)
    if part.startswith(ADAPTER):
        return "aligner" if key.startswith("pose_aligner.") else "adapter"
    return LORA if part.startswith(LORA) else "base"


def group_of(name: str) -> str:
    """The parameter group in which a trainable tensor is measured: a component of the adapter, or a part of the base."""
    part, key = name.split("/", 1)
    return f"{part}/{key.split('.', 1)[0]}" if part.startswith(ADAPTER) else part


def gradient_norms(parameters: Mapping[str, nn.Parameter]) -> dict[str, torch.Tensor]:
    """The norm of each group's gradient, on the device; groups without one are left out."""
    groups: dict[str, list[torch.Tensor]] = {}
    for name, parameter in parameters.items():
        if parameter.grad is not None:
            groups.setdefault(group_of(name), []).append(parameter.grad)
    return {group: nn.utils.get_total_norm(gradients) for group, gradients in groups.items()}


class MovingAverage:
    """Exponential moving average of the trained tensors: float32, in host memory wherever they train.

    An update adds (1 - decay) of the difference. bfloat16 keeps eight binary digits, so that at decay 0.999 it would take in
    only what differs from it by more than twice its own size, and stand still otherwise. The GPU's memory is what a training
    lacks: the 851 M parameters that wan2.1-t2v-14b trains are 3.17 GiB, which a host has. An update fetches them once.

    It forgets the first steps faster than `decay` says, as in the TensorFlow implementation that introduced the ramp: the
    average of step t weighs its past by min(decay, (1 + t) / (10 + t)).
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self.decay = decay
        self.tensors = {name: _on_host(value) for name, value in parameters.items()}

    @torch.no_grad()
    def update(self, parameters: Mapping[str, nn.Parameter], step: int) -> None:
        """Takes in the tensors after update number `step`, counted from 0."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        for name, parameter in parameters.items():
            self.tensors[name].lerp_(parameter.to("cpu", torch.float32), weight)

    @contextmanager
    def in_place_of(self, parameters: Mapping[str, nn.Parameter]) -> Iterator[None]:
        """The model computes with the average while it is open; what trains waits on the host."""
        self._swap(parameters)
        try:
            yield
        finally:
            self._swap(parameters)

    @torch.no_grad()
    def _swap(self, parameters: Mapping[str, nn.Parameter]) -> None:
        for name, parameter in parameters.items():
            trained = _on_host(parameter)
            parameter.copy_(self.tensors[name])
            self.tensors[name] = trained


def _on_host(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to("cpu", torch.float32, copy=True)
