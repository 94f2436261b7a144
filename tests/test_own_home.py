"""The tests' own home: what keeps their user's as it was."""

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

from resources.settings import PROJECT_ROOT, Settings

PLUGIN = PROJECT_ROOT / "tests" / "own_home.py"
CONFTEST = 'pytest_plugins = ("tests.own_home",)\n'
FORGETFUL = """
from tests.own_home import CHECKOUT_HOME

def test_writes_where_it_must_not():
    CHECKOUT_HOME.mkdir()
    (CHECKOUT_HOME / "lafid.duckdb").touch()
"""


def test_no_test_and_no_child_of_one_sees_the_users_home() -> None:
    users = Path(pwd.getpwuid(os.getuid()).pw_dir)
    ask = [sys.executable, "-c", "from pathlib import Path; print(Path.home())"]
    said = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    assert Path(said) == Path.home() != users
    assert Settings.from_environment().home.is_relative_to(Path.home())


def test_names_of_temporary_folders_hold_a_space(tmp_path: Path) -> None:
    assert " " in str(tmp_path)
    assert " " in str(Path.home())


def test_run_that_changes_the_checkouts_home_fails(tmp_path: Path) -> None:
    """In a checkout of its own."""
    (tmp_path / "tests").mkdir()
    shutil.copy(PLUGIN, tmp_path / "tests")
    (tmp_path / "tests" / "conftest.py").write_text(CONFTEST)
    (tmp_path / "tests" / "test_it.py").write_text(FORGETFUL)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "1 passed" in ended.stdout, ended.stdout + ended.stderr
    assert f"the tests changed {tmp_path}/.lafid: ., lafid.duckdb" in ended.stdout
    assert ended.returncode == 1
