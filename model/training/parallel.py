"""Several processes that train one model: each computes its share of every batch, and gradients are summed once an update.

Belongs here: torch.distributed. Not here: what is computed. Every process holds the trained tensors and draws the same batch,
of which it computes some rows; so losses and weights are those of one process, within rounding. Gradients are summed after
accumulation and by hand: a wrapper would sum them in every backward, and hang where a batch reaches one of two transformers
on some processes alone.

torchrun and accelerate name the processes by WORLD_SIZE, RANK, LOCAL_RANK, MASTER_ADDR and MASTER_PORT. All of them read and
write one `out_dir`: between machines it is a shared folder.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import nn

from model.bases.base import pick_device
from model.training.heartbeat import Heartbeat, RankLost, shared_store

Told = TypeVar("Told")
_BUCKET = 2**26
"""Gradients that are summed at a time."""
_PATIENCE = timedelta(hours=2)
"""How long processes wait for one that is busy: the first draws videos while the others stand still."""
_MEETING = timedelta(minutes=10)
"""How long they wait for the last to begin: until all have met, nobody hears of one that failed."""


class TooFewGpus(RuntimeError):
    """More processes are started on a machine than it has GPUs; the message has both numbers."""


class Turn(NamedTuple):
    """One forward of one process."""

    rows: Sequence[int]
    """Of the batch."""
    counts: bool = True
    """False: it is computed for the other processes' sake, and its loss is nobody's."""


@dataclass(frozen=True)
class Ranks:
    """This process among all that train together; alone, every method is what one process needs."""

    rank: int
    world: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """One process writes and reports."""
        return self.rank == 0

    def share(self, rows: int) -> range:
        """Which of a batch's rows this process computes; shares differ by one row at most."""
        return range(self.rank * rows // self.world, (self.rank + 1) * rows // self.world)

    def deal(self, kinds: Sequence[int], size: int) -> list[Turn]:
        """This process's forwards of a batch whose rows are of these kinds: forward by forward, all processes compute the same
        kind, `size` rows at most, and none has a forward more than another.

        For weights that are shared: each process needs all others whenever it computes a block. A process that is left without
        rows computes one that another one computes.
        """
        turns = []
        for kind in sorted(set(kinds)):
            rows = [row for row, of in enumerate(kinds) if of == kind]
            for start in range(0, len(rows), self.world * size):
                own = rows[start : start + self.world * size][self.rank :: self.world]
                turns.append(Turn(own or rows[:1], counts=bool(own)))
        return turns

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """`tensor` with the sum over all processes in place."""
        if self.world > 1:
            dist.all_reduce(tensor)
        return tensor

    def any(self, flag: bool) -> bool:
        """Whether it is set on one of them; nobody waits for what the devices still compute."""
        return bool(self.sum(torch.tensor(float(flag))))

    def gather_rows(self, own: torch.Tensor, rows: range, count: int) -> torch.Tensor:
        """(count, W): the rows of all processes, each of which has some of them, `own` (rows, W).

        A loss of all rows that each process divides by `world` and takes the gradient of has, summed over the processes, the
        gradient that one process would have.
        """
        return own if self.world == 1 else _GatheredRows.apply(own, self, rows, count)

    def tell_all(self, what: Told) -> list[Told]:
        """What every process tells, by rank."""
        told: list[Any] = [what] * self.world
        if self.world > 1:
            dist.all_gather_object(told, what)
        return told

    def wait(self) -> None:
        """Until all have come here."""
        if self.world > 1:
            dist.barrier()

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sums every gradient that one of the processes has; what none has stays without."""
        if self.world == 1:
            return
        every = list(parameters)
        reached = self.sum(torch.tensor([float(p.grad is not None) for p in every], device=self.device)).tolist()
        bucket: list[torch.Tensor] = []
        for parameter, processes in zip(every, reached, strict=True):
            if not processes:
                continue
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            bucket.append(parameter.grad)
            if sum(gradient.numel() for gradient in bucket) >= _BUCKET:
                self._sum_flat(bucket)
                bucket = []
        if bucket:
            self._sum_flat(bucket)

    def _sum_flat(self, gradients: list[torch.Tensor]) -> None:
        flat = self.sum(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, summed in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(summed.view_as(gradient))


class _GatheredRows(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, own: torch.Tensor, ranks: Ranks, rows: range, count: int) -> torch.Tensor:
        context.ranks, context.rows = ranks, rows
        whole = own.new_zeros(count, *own.shape[1:])
        whole[rows.start : rows.stop] = own
        return ranks.sum(whole)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> Any:
        # Each process computes the whole loss, divided by `world`: of its own rows it alone has the gradient.
        rows = context.rows
        return context.ranks.world * gradient[rows.start : rows.stop], None, None, None


@contextmanager
def join_ranks(device: torch.device | str | None) -> Iterator[Ranks]:
    """This process among those that the environment names; alone where it names none.

    Args:
        device: what this process computes on; the GPU of its LOCAL_RANK where there is one, unless named.

    Raises:
        TooFewGpus: not every process of this machine has one.
        RankLost: another process is gone, or did not begin.
    """
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if device is None and torch.cuda.is_available():
        local = int(os.environ.get("LOCAL_RANK", "0"))
        # Of all alike, so that the first, which speaks for all, does not wait for those that have none.
        here, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", local + 1)), torch.cuda.device_count()
        if here > gpus:
            raise TooFewGpus(f"{here} processes are started on a machine with {gpus} GPUs: start {gpus} (--nproc-per-node)")
        device = f"cuda:{local}"
    chosen = pick_device(device)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    # accelerate's launcher may have joined them already. One alone needs nobody, unless its base is offloaded (`weight_offload`).
    joined_here = not dist.is_initialized()
    if joined_here and world > 1:
        backend = "cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=_meet(rank, world), rank=rank, world_size=world, timeout=_PATIENCE)
    try:
        with Heartbeat(shared_store(), rank, world) if world > 1 else nullcontext():
            yield Ranks(rank, world, chosen)
    except RankLost:
        joined_here = False  # leaving a group that is not whole may take for ever
        raise
    finally:
        if joined_here and dist.is_initialized():
            dist.destroy_process_group()


def _meet(rank: int, world: int) -> dist.Store:
    """The store in which all processes have come together."""
    store, _, _ = next(dist.rendezvous("env://", rank, world, timeout=_MEETING))
    come = [f"lafid/come/{other}" for other in range(world)]
    store.set(come[rank], "")
    try:
        store.wait(come, _MEETING)
    except dist.DistStoreError as error:
        late = ", ".join(str(other) for other, key in enumerate(come) if not store.check([key]))
        minutes = _MEETING.total_seconds() / 60
        raise RankLost(f"rank {late} did not begin within {minutes:.0f} minutes: see what its machine printed") from error
    store.set_timeout(_PATIENCE)
    return store
