"""A GPU for each process, however many of them a machine runs at a time.

Belongs here: which GPU a process takes or gives its child, and how many processes share the machine. Not here: what it
computes, the pool that says how many runs there are at a time (`dagster.yaml`), the processes of a training (`trainer`).
"""

import fcntl
import os
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import torch

LOCAL_WORLD_SIZE = "LOCAL_WORLD_SIZE"
"""torchrun's variable: its processes on this machine."""


VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"


class NoGpuLeft(RuntimeError):
    """Every GPU of the machine has a process of LaFID on it; the message names the remedy."""


_held: list[IO[str]] = []
"""Open until the process ends, however it ends: so long the lock stands."""


@lru_cache(maxsize=1)
def own_device() -> "torch.device":
    """The first GPU on which no other process encodes, this process's from then on; the CPU where there is none.

    Raises:
        NoGpuLeft: others have them all.
    """
    import torch

    count = torch.cuda.device_count()
    if not count:
        return torch.device("cpu")
    for number in range(count):
        if _take(str(torch.cuda.get_device_properties(number).uuid)):
            device = torch.device("cuda", number)
            torch.cuda.set_device(device)
            return device
    raise NoGpuLeft(
        f"on each of the {count} GPUs that this process sees another one encodes: run no more at a time than there are GPUs "
        f"(`dagster instance concurrency set gpu {count}`, or torchrun's --nproc-per-node {count})"
    )


def gpu_environments(count: int) -> list[dict[str, str]]:
    """Environments of children, one a GPU, which is all that its child sees. `count`: GPUs that this process can use."""
    visible = os.environ.get(VISIBLE_GPUS)
    names = visible.split(",") if visible else [str(number) for number in range(count)]
    return [{VISIBLE_GPUS: name} for name in names[:count]]


def processes_here() -> int:
    """How many processes that encode may share this machine's cores."""
    import torch

    return max(1, torch.cuda.device_count(), int(os.environ.get(LOCAL_WORLD_SIZE, "1")))


def _take(name: str) -> bool:
    folder = Path(tempfile.gettempdir()) / f"lafid-gpus-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    file = (folder / name).open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return False
    _held.append(file)
    return True
