"""A model of which no process has all weights, while one of them draws with it: the others compute each of its forwards, too.

Belongs here: how they come to know of these forwards. Not here: what is drawn (`held_out_videos`), the forwards of updates, which
all processes count alike (`sampling`).

One process leads: it holds encoders and VAE, runs the pipeline, measures. What it hands to a transformer goes to all others, who
call theirs with the same, since a block's weights come together on all of them or on none.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.utils._pytree import tree_map_only

from model.face_branch.trainable import FusedModel
from model.presets import TrainConfig
from model.training.execution import autocast
from model.training.parallel import Ranks

_FAILED = "a forward failed on one process, and the others wait in it: start the run again"


class OutOfStep(RuntimeError):
    """The processes cannot go on together."""


@contextmanager
def leading(model: FusedModel, config: TrainConfig, ranks: Ranks) -> Iterator[None]:
    """Whatever calls one of the model's transformers meanwhile is followed by the other processes, who are in `follow`.

    However it ends, they are told, and nobody waits for what will not come.

    Raises:
        OutOfStep: a forward failed, in which the others still wait for this process; from the next forward, too, of which they
            are not told.
    """
    if not _together(config, ranks):
        yield
        return
    running: list[int] = []
    with ExitStack() as hooks:
        for number, transformer in enumerate(model.base.transformers):

            def hand_on(_module: nn.Module, args: tuple[Any, ...], given: dict[str, Any], number: int = number) -> None:
                if running:
                    raise OutOfStep(_FAILED)
                _send((number, args, given))
                running.append(number)

            # First of all hooks: the face branch's takes out of `given` what the others have to be given, too.
            for hook in (
                transformer.register_forward_pre_hook(hand_on, prepend=True, with_kwargs=True),
                transformer.register_forward_hook(lambda *_: running.clear()),
            ):
                hooks.callback(hook.remove)
        ended_well = False
        try:
            yield
            ended_well = True
        finally:
            if running:
                raise OutOfStep(_FAILED)
            _send(ended_well)


@torch.no_grad()
def follow(model: FusedModel, config: TrainConfig, ranks: Ranks) -> bool:
    """Computes what the leading process computes, until it is done; whether it came to its end."""
    if not _together(config, ranks):
        return True
    with torch.compiler.set_stance("force_eager"), autocast(config, ranks.device):
        while not isinstance(handed := _receive(ranks.device), bool):
            number, args, given = handed
            model.base.transformers[number](*args, **given)
    return handed


def _together(config: TrainConfig, ranks: Ranks) -> bool:
    return config.shard_base and ranks.world > 1


def _send(what: Any) -> None:
    # In host memory: from another process's device the others would take memory there, to read them.
    dist.broadcast_object_list([_on(torch.device("cpu"), what)], src=0)


def _receive(device: torch.device) -> Any:
    handed: list[Any] = [None]
    dist.broadcast_object_list(handed, src=0)
    return _on(device, handed[0])


def _on(device: torch.device, what: Any) -> Any:
    return tree_map_only(torch.Tensor, lambda tensor: tensor.to(device), what)
