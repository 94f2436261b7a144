"""A plugin of the tests: one undisturbed `lafid demo` in a home of its own, shared by all tests that look at what it left."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

PROJECT_ROOT = Path(__file__).resolve().parents[1]


def run_lafid(home: Path, *arguments: str, timeout_s: float = 900) -> subprocess.CompletedProcess[str]:
    """Run the installed command in a process of its own, with nothing of the caller's LaFID environment."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LAFID_", "DAGSTER_", "MLFLOW_"))}
    return subprocess.run(
        [sys.executable, "-m", "lafid_assets.cli.main", *arguments],
        cwd=PROJECT_ROOT,
        env=environment | {"LAFID_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


@dataclass(frozen=True)
class Demo:
    """A home after one demo, and what the demo printed."""

    home: Path
    output: str

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with duckdb.connect(str(self.home / "lafid.duckdb"), read_only=True) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    home = tmp_path_factory.mktemp("demo") / "home"
    done = run_lafid(home, "demo")
    assert done.returncode == 0, done.stdout + done.stderr
    return Demo(home, done.stdout)
