"""Where the frozen weights of a base's blocks are while they are not computed with: on the device, shared among the processes, in
host memory, or both of the latter.

Belongs here: FSDP2's calls. Not here: who the processes are (`parallel`), how blocks compute (`execution`).

Only the weights of a block's frozen linear layers go away; they are all of a block but a thousandth. What trains, what diffusers
keeps in float32, norms and biases stay whole on the device. FSDP2 frees a block's weights by emptying their storage, so that
whatever autograd has saved of them is whole again when they are back for the backward. diffusers' group offloading puts another
tensor in a parameter's place after the forward instead: the backward of a norm, which has saved the parameter, then finds it
on the host.
"""

import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy, fully_shard
from torch.distributed.tensor import DTensor

from model.bases.base import Transformer
from model.presets import TrainConfig
from model.training.parallel import Ranks


def blocks_of(transformer: Transformer) -> list[nn.Module]:
    """In the order in which a forward computes them: VACE's own come first."""
    return [*getattr(transformer, "vace_blocks", ()), *transformer.blocks]


def place(transformer: Transformer, config: TrainConfig, ranks: Ranks) -> None:
    """Puts `transformer` on this process's device, its blocks' frozen weights where `config` says.

    One block at a time: a base that does not fit the device never has to.
    """
    shared = config.shard_base and ranks.world > 1
    if shared or config.offload_base:
        mesh = _all_processes(ranks) if shared else _this_process(ranks)
        pinned = ranks.device.type == "cuda"
        offload = CPUOffloadPolicy(pin_memory=pinned) if config.offload_base else OffloadPolicy()
        for block in blocks_of(transformer):
            fully_shard(block, mesh=mesh, offload_policy=offload, ignored_params={*block.parameters()} - movable_weights(block))
        # The root orders what its blocks fetch; it has nothing of its own to fetch.
        fully_shard(transformer, mesh=mesh, ignored_params={p for p in transformer.parameters() if not isinstance(p, DTensor)})
    for tensor in (*transformer.parameters(), *transformer.buffers()):
        if not isinstance(tensor, DTensor):
            tensor.data = tensor.data.to(ranks.device)


def movable_weights(block: nn.Module) -> set[nn.Parameter]:
    """Those of its frozen linear layers."""
    weights = (layer.get_parameter("weight") for layer in block.modules() if isinstance(layer, nn.Linear))
    return {weight for weight in weights if not weight.requires_grad}


def _all_processes(ranks: Ranks) -> DeviceMesh:
    return init_device_mesh(ranks.device.type, (ranks.world,))


def _this_process(ranks: Ranks) -> DeviceMesh:
    """FSDP2 over one process: it gathers from nobody, and moves blocks between host and device."""
    if not dist.is_initialized():
        backend = "nccl" if ranks.device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
    return init_device_mesh(ranks.device.type, (ranks.world, 1), mesh_dim_names=("processes", "alone"))["alone"]
