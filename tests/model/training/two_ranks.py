"""Two real processes that train together over gloo, on this machine."""

import socket
from contextlib import ExitStack
from pathlib import Path

from tests.forked import Ended, Fresh


def free_ports(count: int) -> list[int]:
    """Every time that processes meet, they do so at another one."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        return [free.getsockname()[1] for free in sockets]


def run_two(fresh_processes: Fresh, script: str, task: Path) -> list[Ended]:
    """How each of two processes of `script`, which is told of `task`, ended."""
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
    ranks = [common | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)]
    return fresh_processes(script, task, environments=ranks)
