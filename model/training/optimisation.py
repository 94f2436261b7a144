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
    """Exponential moving average of the trained tensors, float32, on their device.

    It forgets the first steps faster than `decay` says, as in the TensorFlow implementation that introduced the ramp: the
    average of step t weighs its past by min(decay, (1 + t) / (10 + t)).
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self.decay = decay
        self.tensors = {name: value.detach().clone() for name, value in parameters.items()}

    @torch.no_grad()
    def update(self, parameters: Mapping[str, nn.Parameter], step: int) -> None:
        """Takes in the tensors after update number `step`, counted from 0."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        for name, parameter in parameters.items():
            self.tensors[name].lerp_(parameter, weight)

    @contextmanager
    def in_place_of(self, parameters: Mapping[str, nn.Parameter]) -> Iterator[None]:
        """The model computes with the average while it is open."""
        self._swap(parameters)
        try:
            yield
        finally:
            self._swap(parameters)

    def _swap(self, parameters: Mapping[str, nn.Parameter]) -> None:
        for name, parameter in parameters.items():
            self.tensors[name], parameter.data = parameter.data, self.tensors[name]
