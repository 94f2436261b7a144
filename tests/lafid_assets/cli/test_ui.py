"""`lafid ui` and what it starts, with servers that serve nothing."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

UI = """
import sys
from pathlib import Path
from lafid_assets.cli import ui
from resources.settings import Settings
from resources.tracking import Tracking

Tracking.connect = lambda _: None
ui._dagster_command = lambda port, read_only: ["sh", "-c", sys.argv[2]]
ui._mlflow_command = lambda settings, port: ["sleep", "120"]
ui._wait_until_it_answers = lambda *_: None
ui.run_ui(Settings(home=Path(sys.argv[1]), store_uri=sys.argv[1] + "/store"), None, None)
"""
Start = Callable[[str], subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    begun = []

    def run(server: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", UI, str(tmp_path / "home"), server.format(pid=tmp_path / "pid")]
        begun.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return begun[-1]

    yield run
    for ui in begun:
        ui.terminate()
        ui.communicate(timeout=900)


def _is_gone(pid: int) -> bool:
    deadline = time.monotonic() + 900
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    return False


def _pid(path: Path) -> int:
    deadline = time.monotonic() + 900
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < deadline, "the server never started"
        time.sleep(0.05)
    return int(path.read_text())


def test_a_terminal_that_is_closed_ends_the_servers(start: Start, tmp_path: Path) -> None:
    ui = start("echo $$ > '{pid}'; sleep 3600")
    server = _pid(tmp_path / "pid")
    assert any("Dagster UI" in line for line in ui.stdout)
    ui.send_signal(signal.SIGHUP)
    ui.wait(900)
    assert _is_gone(server)
    assert ui.returncode == 128 + signal.SIGHUP


def test_what_a_server_started_is_gone_when_the_command_ends(start: Start, tmp_path: Path) -> None:
    """Although it takes longer to end than the server."""
    child = f"trap 'sleep 1; exit' TERM; echo $$ > '{tmp_path / 'child'}'; while :; do sleep 0.1; done"
    ui = start(f'sh -c "{child.replace("$$", chr(92) + "$$")}" & sleep 3600')
    pid = _pid(tmp_path / "child")
    assert any("Dagster UI" in line for line in ui.stdout)
    ui.terminate()
    ui.wait(900)
    assert not Path(f"/proc/{pid}").exists()


def test_a_server_that_ends_by_itself_leaves_nothing_running(start: Start, tmp_path: Path) -> None:
    ui = start("sleep 3600 & echo $! > '{pid}'; sleep 1")
    child = _pid(tmp_path / "pid")
    _, said = ui.communicate(timeout=900)
    assert "a server ended by itself" in said
    assert _is_gone(child)
