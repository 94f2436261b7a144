"""What a run tells of itself: how it stands every few updates, and how it ended.

Belongs here: the figures and how they are measured. Not here: whoever hears of them (MLflow, Dagster's log).
"""

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from model.bases.base import Transformer
from model.bases.conditions import with_picture
from model.bases.flow import TIMESTEPS
from model.face_branch.fusion import FaceFusion
from model.face_branch.references import shown_tokens
from model.face_branch.trainable import SUFFIXES, FusedModel
from model.presets import Preset
from model.training.objective import StepLosses
from model.training.parallel import Ranks
from model.training.throughput import peak_flop_per_s, step_flop

_QUARTERS = 4
_GIB = 2**30


@dataclass(frozen=True)
class TrainReport:
    """How a run stands after `step` updates."""

    step: int
    steps: int
    loss: float
    """Flow loss of the last batch."""
    grad_norm: float
    """Before clipping."""
    lr: float
    seconds: float
    """Since this call began to train."""
    metrics: dict[str, float]
    """Everything else by name, under names that MLflow takes; what cannot be measured here is not in it."""


@dataclass(frozen=True)
class TrainResult:
    """A finished run."""

    checkpoint_dir: Path
    loss_before: float
    """Mean over the fixed triples before the first update."""
    loss_after: float
    """The same triples after the last."""
    steps: int
    seconds: float
    """This call's; a resumed run took longer in all."""
    resumed_from: int
    """Updates that were done before this call; `steps` where the run was already finished."""
    best_checkpoint_dir: Path | None
    """Of the finished one and those on the way, the best (`checkpoint_retention`); None: the preset judges none."""
    ema_checkpoint_dir: Path | None
    """The averaged tensors after the last update, as whole as the other; None: the preset averages none."""
    best_ema_checkpoint_dir: Path | None
    """Of the averaged ones, the best; None where none is averaged, or none is judged."""
    clips_left_out: tuple[str, ...]
    """Clips whose size fewer clips have than a batch needs: no update saw their video."""


class Meter:
    """Collects figures between two reports. What lies on the device is fetched when it is read."""

    def __init__(self, model: FusedModel, preset: Preset, ranks: Ranks) -> None:
        self._model, self._preset, self._ranks = model, preset, ranks
        self._peak_flop_per_s = peak_flop_per_s(ranks.device)
        self._begin()

    def note(self, losses: StepLosses, data_wait_s: float) -> None:
        """One update's losses, and the seconds for which this process waited for its clips."""
        self._losses.append(losses.flow)
        self._quantiles.append(losses.quantile)
        self._data_wait_s += data_wait_s
        tokens = _tokens(losses, self._model, self._preset)
        flop = step_flop(self._preset.base.transformer, tokens, self._preset.train)
        self._tokens += len(losses.flow) * tokens
        self._model_flop += len(losses.flow) * flop.model
        self._hardware_flop += len(losses.flow) * flop.hardware

    def read(self, losses: StepLosses, norms: dict[str, torch.Tensor]) -> dict[str, float]:
        """The figures since the last call, `losses` and `norms` being the last update's."""
        figures = self._by_quarter() | self._speed() | memory_gib(self._ranks.device)
        if self._preset.fusion.aligner is not None:
            figures["loss_contrastive"] = float(losses.contrastive)
        figures |= {f"grad_norm/{group}": float(norm) for group, norm in norms.items()}
        for suffix, (transformer, fusion) in zip(SUFFIXES, self._model.attached, strict=False):
            entropies = gate_entropies(transformer, fusion, losses)
            figures |= {f"gate_entropy{suffix}/layer_{layer:02}": entropy for layer, entropy in enumerate(entropies)}
        self._begin()
        return figures

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What happens meanwhile is no part of a step's time."""
        began = time.monotonic()
        yield
        self._began += time.monotonic() - began

    def _begin(self) -> None:
        self._began = time.monotonic()
        self._losses: list[torch.Tensor] = []
        self._quantiles: list[torch.Tensor] = []
        self._data_wait_s = 0.0
        self._tokens = 0
        self._model_flop = self._hardware_flop = 0.0

    def _by_quarter(self) -> dict[str, float]:
        losses, quarters = torch.cat(self._losses).cpu(), (torch.cat(self._quantiles) * _QUARTERS).long()
        return {
            f"loss_sigma/q{quarter + 1}": float(losses[quarters == quarter].mean())
            for quarter in range(_QUARTERS)
            if (quarters == quarter).any()
        }

    def _speed(self) -> dict[str, float]:
        seconds = time.monotonic() - self._began
        figures = {
            "tokens_per_second": self._tokens / seconds,
            "seconds_per_step": seconds / len(self._losses),
            "data_wait_share": self._data_wait_s / seconds,
        }
        if self._peak_flop_per_s is not None:
            available = seconds * self._peak_flop_per_s * self._ranks.world
            figures |= {"mfu": self._model_flop / available, "hfu": self._hardware_flop / available}
        return figures


@torch.no_grad()
def gate_entropies(transformer: Transformer, fusion: FaceFusion, losses: StepLosses) -> list[float]:
    """Mean entropy, in nats, of each gate over the last forward's clips: ln 3 where all experts say as much, 0 where one does.

    Gates are asked directly; hooks on them would fire a second time under checkpointing and break a compiled block.
    """
    embedder = transformer.condition_embedder
    pooled = fusion(losses.last.face).pooled
    timesteps = embedder.timesteps_proj(TIMESTEPS * losses.last_sigma.float())
    dtype = next(embedder.time_embedder.parameters()).dtype
    time_embedding = embedder.time_embedder(timesteps.to(dtype)).float()
    weights = [gate(pooled, time_embedding) for gate in fusion.gates]
    return [float(torch.special.entr(weight).sum(dim=-1).mean()) for weight in weights]


def memory_gib(device: torch.device) -> dict[str, float]:
    """The most that this process has held, on the host and on the card."""
    # macOS counts bytes, Linux KiB.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    figures = {"host_peak_gib": peak / _GIB}
    if device.type == "cuda":
        figures["gpu_peak_gib"] = torch.cuda.max_memory_allocated(device) / _GIB
    return figures


def _tokens(losses: StepLosses, model: FusedModel, preset: Preset) -> int:
    """Tokens of one clip of a step, whose clips have one size: of what is drawn, and of references that are not hidden."""
    patch = model.base.transformer.config.patch_size
    frames, height, width = with_picture(losses.last.latents, losses.last.condition).shape[2:]
    tokens = (frames // patch[0]) * (height // patch[1]) * (width // patch[2])
    wanted = preset.fusion.references
    if wanted is not None and losses.last.references is not None:
        tokens += shown_tokens(losses.last.references, patch, wanted.masked_share)
    return int(tokens)
