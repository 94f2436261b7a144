"""What takes long to build and is only looked at: built by the first of the test processes that needs it, shared by all."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

SHARED = "LAFID_TESTS_SHARED"
"""Names a folder in which several test runs at once build once for all of them, as `.ci/run` has them do."""


def built_once(factory: pytest.TempPathFactory, name: str, build: Callable[[Path], None]) -> Path:
    """The folder that `build` makes, one a test run; who comes second waits. A build that fails is tried again by the next."""
    folder = factory.getbasetemp()
    if SHARED in os.environ:
        folder = Path(os.environ[SHARED])
    elif "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    built, done = folder / name, folder / f"{name}.done"
    with open(folder / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.is_file():
            shutil.rmtree(built, ignore_errors=True)
            build(built)
            done.touch()
    return built
