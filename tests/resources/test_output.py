"""Lines of a process that is killed, in the file that it prints to."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from resources.output import print_line_by_line
from resources.settings import PROJECT_ROOT

KILLED = """
import os, signal, sys
from resources.output import print_line_by_line
print_line_by_line()
print("first, on stdout")
print("second, on stderr", file=sys.stderr)
print("last, on stdout")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_lines_keep_their_order_and_outlive_the_process(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        ended = subprocess.run([sys.executable, "-c", KILLED], cwd=PROJECT_ROOT, stdout=log, stderr=log, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert (tmp_path / "log").read_text().splitlines() == ["first, on stdout", "second, on stderr", "last, on stdout"]


def test_stream_of_another_kind_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook's, or none at all."""
    monkeypatch.setattr(sys, "stdout", None)
    print_line_by_line()
    assert sys.stdout is None
