"""`.ci/run`, over a make that only tells what it was given; and what `make test` does with tests that crash or hang."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from resources.settings import PROJECT_ROOT
from tests.demo_home import DEMO_S
from tests.once import SHARED
from tests.soaks import LONGEST_S

MAKE = """#!/bin/sh
echo "make $*" >> told
env >> told
test "$*" != "$(cat broken 2>/dev/null)"
"""
SHELLS_OWN = {"PWD", "OLDPWD", "SHLVL", "_"}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with a space in its name."""
    folder = tmp_path / "a checkout"
    (folder / ".ci").mkdir(parents=True)
    (folder / "bin").mkdir()
    shutil.copy(PROJECT_ROOT / ".ci" / "run", folder / ".ci")
    for path, text in {".ci/services": "#!/bin/sh\n", "bin/make": MAKE}.items():
        (folder / path).write_text(text)
        (folder / path).chmod(0o755)
    return folder


def _run(checkout: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{checkout / 'bin'}:{os.environ['PATH']}", "HOME": str(checkout)} | variables
    command = [str(checkout / ".ci" / "run")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_environment_is_a_plain_machines(checkout: Path) -> None:
    given = {"LANG": "C.UTF-8", "https_proxy": "http://proxy:1", "SSL_CERT_FILE": "/a file.pem", "PIP_CERT": ""}
    ended = _run(checkout, PYTHONUNBUFFERED="1", LAFID_HOME="/x", PIP_FIND_LINKS="/wheels", OMP_NUM_THREADS="8", **given)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    told = (checkout / "told").read_text().splitlines()
    assert {"make .venv/.installed", "make lint", "make test", "make browser", "make trial"} <= set(told)
    seen = {line.split("=")[0] for line in told if not line.startswith("make ")}
    assert seen - SHELLS_OWN - {"TMPDIR"} == {"HOME", "PATH", SHARED, *given}
    assert "SSL_CERT_FILE=/a file.pem" in told
    [shared] = {line.split("=")[1] for line in told if line.startswith(SHARED)}
    assert not Path(shared).parent.exists(), "what the test runs share is gone with them"


@pytest.mark.parametrize(
    ("room", "memory", "folders"),
    [("20G", "20", {"TMPDIR=/dev/shm"}), ("1G", "20", set()), ("20G", "8", set()), ("", "", set())],
)
def test_where_memory_has_room_no_test_waits_for_the_disk(checkout: Path, room: str, memory: str, folders: set[str]) -> None:
    for command, said in {"df": f"Avail\n {room}", "awk": memory}.items():
        (checkout / "bin" / command).write_text(f"#!/bin/sh\necho '{said}'\n")
        (checkout / "bin" / command).chmod(0o755)
    assert _run(checkout).returncode == 0
    assert {line for line in (checkout / "told").read_text().splitlines() if line.startswith("TMPDIR=")} == folders


@pytest.mark.parametrize(
    ("target", "what"),
    [("lint", "linters"), ("test", "tests"), ("browser", "browser tests"), ("trial", "the trial of a cluster")],
)
def test_whatever_fails_fails_the_run_and_the_rest_is_run(checkout: Path, target: str, what: str) -> None:
    (checkout / "broken").write_text(target)
    ended = _run(checkout)
    assert ended.returncode == 1
    assert ended.stdout.splitlines()[-1] == f"failed: {what}"
    assert {"make lint", "make test", "make browser", "make trial"} <= set((checkout / "told").read_text().splitlines())


@pytest.mark.skipif(os.geteuid() != 0, reason="who is no root has run them as an ordinary user already")
def test_what_fails_as_an_ordinary_user_fails_the_run(checkout: Path) -> None:
    becomes = checkout / "bin" / "setpriv"
    becomes.write_text('#!/bin/sh\ncase "$*" in *"import pytest"*) ;; *) echo "one failed"; exit 1 ;; esac\n')
    becomes.chmod(0o755)
    ended = _run(checkout)
    assert ended.returncode == 1
    assert "one failed" in ended.stdout
    assert ended.stdout.splitlines()[-1] == "failed: tests as an ordinary user"


CRASHING = """
import os, signal, time
import pytest

@pytest.mark.parametrize("number", range(6))
def test_it(number):
    time.sleep(0.05)
    if number == 1:
        os.kill(os.getpid(), signal.SIGSEGV)
    if number == 3:
        sum(range(10**12))  # no signal is heard in there

@pytest.mark.parametrize("number", range(12))
def test_another(number):
    time.sleep(0.05)
"""


def test_a_worker_that_dies_or_hangs_costs_one_test_and_ends_nothing_else(tmp_path: Path) -> None:
    [options] = re.findall(r"^test:.*\n.*-m pytest (.*)$", (PROJECT_ROOT / "Makefile").read_text(), re.MULTILINE)
    (tmp_path / "test_it.py").write_text(CRASHING)
    quick = {"timeout": "1", "faulthandler_timeout": "2", "faulthandler_exit_on_timeout": "true"}
    given = [word for name, value in quick.items() for word in ("-o", f"{name}={value}")]
    command = [sys.executable, "-m", "pytest", *shlex.split(options), *given, "-q"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 1
    crashed = re.findall(r"worker '\w+' crashed while running '.*\[(\d)\]'", ended.stdout)
    assert sorted(crashed) == ["1", "3"]
    assert "2 failed, 16 passed" in ended.stdout
    assert "Fatal Python error: Segmentation fault" in ended.stderr
    assert 'test_it.py", line 11 in test_it' in ended.stderr, "where it hung"


def test_a_test_that_hangs_in_a_library_ends() -> None:
    options = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert options["faulthandler_exit_on_timeout"]
    assert options["timeout"] < DEMO_S < options["faulthandler_timeout"]
    assert f"--soak -o faulthandler_timeout={LONGEST_S + 60}" in (PROJECT_ROOT / "Makefile").read_text()
