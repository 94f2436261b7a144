"""Two real processes that train together over gloo, on this machine."""

import json
import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).parents[3]
_FORK = """
import json, os, sys
import model.training.train
script, task = sys.argv[1:]
sys.argv[1:] = [task]
def begin(rank):
    if child := os.fork():
        return child
    for number, end in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{task}.{rank}.{end}", os.O_WRONLY | os.O_CREAT), number)
    os.environ["RANK"] = os.environ["LOCAL_RANK"] = str(rank)
    exec(script, {"__name__": "__main__"})
    sys.exit()
children = [begin(rank) for rank in range(2)]
print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]))
"""
"""Imports for both what takes longer than most of what they do."""


def free_ports(count: int) -> list[int]:
    """Every time that processes meet, they do so at another one."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        return [free.getsockname()[1] for free in sockets]


def run_two(script: str, task: Path) -> list[tuple[int, str, str]]:
    """Exit code, output and errors of each of two processes of `script`, which is told of `task`."""
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", _FORK, script, str(task)]
    ended = subprocess.run(command, env=os.environ | common, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    codes = json.loads(ended.stdout)
    return [(code, *(Path(f"{task}.{rank}.{end}").read_text() for end in ("out", "err"))) for rank, code in enumerate(codes)]
