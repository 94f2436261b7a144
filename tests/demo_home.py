"""A plugin of the tests: one undisturbed `lafid demo` in a home of its own, shared by all tests that look at what it left."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from lafid_assets.lake import open_lake
from resources.settings import Settings
from tests.once import built_once

PROJECT_ROOT = Path(__file__).resolve().parents[1]
DEMO_S = 3600
"""How long a test may take that makes the demo, or waits for it."""


def run_lafid(home: Path, *arguments: str, timeout_s: float = 1800) -> subprocess.CompletedProcess[str]:
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
        """What the lake answers."""
        lake = open_lake(Settings(home=self.home, store_uri=str(self.home / "store")), read_only=True)
        try:
            return lake.sql(query).rows()
        finally:
            lake.close()


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The first worker that needs the demo runs it; the others wait for it."""

    def run(folder: Path) -> None:
        done = run_lafid(folder / "home", "demo", timeout_s=DEMO_S - 30)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "leaked" not in done.stderr, done.stderr
        (folder / "demo.txt").write_text(done.stdout)

    folder = built_once(tmp_path_factory, "demo", run)
    return Demo(folder / "home", (folder / "demo.txt").read_text())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first: the demo as the first worker's, the killed runs as the second's of three. What else needs
    the demo comes at the end, when it is done."""

    def turn(item: pytest.Item) -> int:
        if item.path.name == "test_demo.py":
            return 0
        return 2 if "demo" in getattr(item, "fixturenames", ()) else 1

    killed = [item for item in items if item.path.name == "test_kill.py"]
    others = sorted((item for item in items if item not in killed), key=turn)
    items[:] = others
    items[len(others) // 3 : len(others) // 3] = killed
    for item in items:
        if "demo" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(DEMO_S))
