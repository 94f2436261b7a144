"""What the gates said during a run: the weight of each expert in each block at each timestep.

Belongs here: reading them out. Not here: drawing them (`inspect`), the gates (`fusion`).
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from model.bases.base import Transformer
from model.face_branch.fusion import FaceFusion


@dataclass(frozen=True)
class GateReading:
    """One forward in which a face was given (the null tokens of an unconditional pass are one)."""

    timestep: float
    """The largest of the forward: where every token has one, a given first frame's is 0."""
    blocks: list[torch.Tensor] = field(default_factory=list)

    @property
    def weights(self) -> torch.Tensor:
        """(B, blocks, 3), on the CPU; experts in the order of `experts.EXPERTS`."""
        return torch.stack(self.blocks, dim=1)


@contextmanager
def record_gates(fusion: FaceFusion, transformer: Transformer) -> Iterator[list[GateReading]]:
    """Collects a reading a forward of `transformer`, which carries `fusion`, in the order of the calls, while it is open."""
    readings: list[GateReading] = []

    def begin(_module: nn.Module, _args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        drop_silent()
        readings.append(GateReading(timestep=float(kwargs["timestep"].max())))

    def note(_module: nn.Module, _args: tuple[Any, ...], weights: torch.Tensor) -> None:
        readings[-1].blocks.append(weights.detach().float().cpu())

    def drop_silent() -> None:
        if readings and not readings[-1].blocks:
            readings.pop()

    with ExitStack() as hooks:
        hooks.callback(drop_silent)
        hooks.callback(transformer.register_forward_pre_hook(begin, with_kwargs=True).remove)
        for gate in fusion.gates:
            hooks.callback(gate.register_forward_hook(note).remove)
        yield readings
