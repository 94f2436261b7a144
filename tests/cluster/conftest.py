"""Where a cluster's files lie."""

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import postgres
from tests.cluster.space import why_not


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, for the paths of Unix sockets are, and open to Postgres' user."""
    if reason := why_not():
        pytest.skip(reason)
    if os.geteuid() != 0:
        pytest.skip("needs root: Postgres has a user of its own in there")
    if postgres.newest_programs() is None:
        pytest.skip(f"needs Postgres: there is no /{postgres.PROGRAMS}")
    if importlib.util.find_spec("ray") is None or importlib.util.find_spec("dagster_ray") is None:
        pytest.skip("needs Ray: pip install lafid[cluster]")
    made = Path(tempfile.mkdtemp(prefix="lafid-trial-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)
