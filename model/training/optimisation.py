"""What turns gradients into an update: the schedule, the norms of a gradient's parts, clipping, the moving average.

Belongs here: functions of the step and of named tensors. Not here: what a loss is (`objective`), the loop (`train`).
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from model.face_branch.trainable import ADAPTER
from model.presets import TrainConfig


def learning_rate(config: TrainConfig, step: int) -> float:
    """Linear warmup, then cosine to zero; a function of the step alone."""
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return config.lr * 0.5 * (1 + math.cos(math.pi * progress))


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
    lacks: the 765 M parameters that wan2.1-t2v-14b trains are 2.85 GiB, which a host has. An update fetches them once.

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
