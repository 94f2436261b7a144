"""Proof that all processes of a training begin with the same numbers; gradients are summed, weights never are.

Belongs here: the comparison. Not here: who the processes are (`parallel`).
"""

from collections.abc import Mapping

import torch

from model.training.heartbeat import EndedTogether
from model.training.parallel import Ranks

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_NAMED = 3
"""Tensors that the message names."""


class RanksDiffer(EndedTogether):
    """Processes hold different weights; the message names them."""


def check_equal(tensors: Mapping[str, torch.Tensor], ranks: Ranks) -> None:
    """Each process sums the bit patterns of its tensors, and all compare the sums: a read of the memory, and bytes on the wire.

    Raises:
        RanksDiffer: on all processes alike.
    """
    if ranks.world == 1:
        return
    first, *others = ranks.tell_all({name: _digest(tensor) for name, tensor in tensors.items()})
    differing = {
        rank: [name for name in first | other if first.get(name) != other.get(name)] for rank, other in enumerate(others, 1)
    }
    complaints = [
        f"rank {rank} holds another {', '.join(names[:_NAMED])}"
        + (f" and {more} more" if (more := len(names) - _NAMED) > 0 else "")
        for rank, names in differing.items()
        if names
    ]
    if complaints:
        raise RanksDiffer(
            f"{'; '.join(complaints)} than rank 0: let all processes read one base and one out_dir, with one version of LaFID"
        )


@torch.no_grad()
def _digest(tensor: torch.Tensor) -> tuple[str, int, int]:
    """Type and shape, the sum of all bit patterns, and that of every other one: what changes places changes it."""
    bits = tensor.detach().contiguous().flatten().view(_INTEGERS[tensor.element_size()])
    return f"{tensor.dtype} {tuple(tensor.shape)}", int(bits.sum(dtype=torch.int64)), int(bits[::2].sum(dtype=torch.int64))
