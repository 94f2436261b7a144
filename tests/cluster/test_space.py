"""Machines within this machine: each has its own processes and address, and all of them end with who asked for them."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.cluster.space import APART, why_not
from tests.demo_home import PROJECT_ROOT

LONG_S = 30.0
SITE = """
import os, sys, threading
from pathlib import Path
from tests.cluster.space import Space, build_site, end_with_input
folder = Path(sys.argv[1])
threading.Thread(target=end_with_input, args=[folder], daemon=True).start()
build_site()
for n in (1, 2):
    Space(f"node{n}", 10 + n, ["sh", "-c", f"ip -4 addr; ls /proc; sleep 4{n}4242"], os.environ, folder / f"{n}.log")
print("up", flush=True)
threading.Event().wait()
"""


@pytest.fixture(autouse=True)
def _spaces() -> None:
    if reason := why_not():
        pytest.skip(reason)


def _sleeping() -> list[str]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        found += [line[1]] if line[:1] == ["sleep"] and line[1].endswith("4242") else []
    return sorted(found)


def _until(true: Callable[[], bool]) -> None:
    give_up = time.monotonic() + LONG_S
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.05)


def test_a_site_ends_with_who_asked_for_it_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    command = [*APART, sys.executable, "-c", SITE, str(folder)]
    with subprocess.Popen(command, cwd=PROJECT_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as site:
        assert site.stdout is not None
        assert site.stdin is not None
        assert site.stdout.readline() == "up\n"
        _until(lambda: _sleeping() == ["414242", "424242"])
        one, two = ((folder / f"{number}.log").read_text() for number in (1, 2))
        assert "10.77.0.11/24" in one
        assert "10.77.0.12/24" in two
        assert len([line for line in one.split() if line.isdigit()]) < 10  # processes, of which this machine has many
        site.stdin.close()
        _until(lambda: not _sleeping())
    assert not folder.exists()
