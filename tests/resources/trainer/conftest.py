"""Trainers that misbehave on purpose, and a worker that is a process of its own: what is tested here is who ends whom."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from resources.settings import PROJECT_ROOT

# A trainer without training. Its process ids and what it notices go to files below the folder that it is told.
TRAINER = """
import os, signal, subprocess, sys, time
from pathlib import Path
folder, behaviour = Path(sys.argv[1]), sys.argv[2]
def note(name, text):
    (folder / f".{name}").write_text(text)
    (folder / f".{name}").rename(folder / name)  # whoever waits for the file finds it whole
def on_sigterm(*_):
    note("sigterm", "")
    if behaviour == "saves":
        sys.exit(75)
if behaviour != "polite":
    signal.signal(signal.SIGTERM, on_sigterm)
if behaviour == "stubborn":
    # As torchrun starts its ranks: in sessions of their own.
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(3600)"
    rank = subprocess.Popen([sys.executable, "-c", deaf], start_new_session=True, stdout=subprocess.PIPE)
    rank.stdout.readline()
    note("rank", str(rank.pid))
if behaviour == "leaves":
    rank = subprocess.Popen(["sleep", "3600"], start_new_session=True)
    note("rank", str(rank.pid))
note("trainer", str(os.getpid()))
if behaviour == "leaves":
    sys.exit(3)
if behaviour == "dies":
    os.kill(os.getpid(), signal.SIGKILL)
while True:
    time.sleep(0.05)
"""

# A run worker: one materialization through the client, in this process, as Dagster's own run workers do it.
WORKER = """
import json, sys
from pathlib import Path
import dagster as dg
from dagster._utils.interrupts import capture_interrupts
from resources.trainer.client import TrainerClient
from resources.trainer.launch import LaunchConfig
folder, grace_s, pool, command = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])
@dg.asset(pool=pool)
def trained(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    result = TrainerClient(LaunchConfig(grace_s=grace_s)).run(context, command, folder / "trainer.log")
    return dg.MaterializeResult(metadata={"steps": result.checkpoints["last"].step})
if __name__ == "__main__":
    with dg.DagsterInstance.get() as instance:
        with capture_interrupts():
            dg.materialize([trained], instance=instance)
"""


@dataclass
class Processes:
    """Starts processes and ends what is left of them after a test."""

    folder: Path
    started: list["subprocess.Popen[str]"] = field(default_factory=list)

    def start(self, *command: str, **options: object) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            command,
            cwd=PROJECT_ROOT,
            env=os.environ | {"PYTHONPATH": str(PROJECT_ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **options,  # type: ignore[call-overload]
        )
        self.started.append(process)
        return process

    def trainer(self, behaviour: str) -> list[str]:
        """Command of a trainer that is polite, stubborn, saves, leaves or dies."""
        return [sys.executable, "-c", TRAINER, str(self.folder), behaviour]

    def worker(self, command: list[str], *, grace_s: float, pool: str = "gpu") -> "subprocess.Popen[str]":
        path = self.folder / "worker.py"
        path.write_text(WORKER)
        return self.start(sys.executable, str(path), str(self.folder), str(grace_s), pool, json.dumps(command))

    def pid(self, name: str) -> int:
        """Waits for the process to note its id."""
        self.until(lambda: (self.folder / name).exists(), f"{name} never noted its process id")
        return int((self.folder / name).read_text())

    def runs(self, pid: int) -> bool:
        return runs(pid)

    def until_gone(self, *pids: int) -> None:
        self.until(lambda: not any(runs(pid) for pid in pids), f"some of {pids} outlived their time")

    def until(self, condition: Callable[[], bool], complaint: str) -> None:
        for _ in range(1200):
            if condition():
                return
            time.sleep(0.05)
        raise AssertionError(f"{complaint}: {self.output()}")

    def output(self) -> str:
        log = self.folder / "trainer.log"
        return log.read_text() if log.exists() else ""


def runs(pid: int) -> bool:
    """A zombie that nobody has collected yet no longer runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    found = Processes(tmp_path)
    yield found
    for process in found.started:
        process.kill()
    for name in ("trainer", "rank"):
        if (tmp_path / name).exists() and runs(int((tmp_path / name).read_text())):
            os.kill(int((tmp_path / name).read_text()), signal.SIGKILL)
    for process in found.started:
        process.communicate(timeout=900)
