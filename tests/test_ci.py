"""`.ci/run`, over a make that only tells what it was given."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from resources.settings import PROJECT_ROOT

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
    assert {"make .venv/.installed", "make lint", "make test"} <= set(told)
    seen = {line.split("=")[0] for line in told if not line.startswith("make ")}
    assert seen - SHELLS_OWN == {"HOME", "PATH", *given}
    assert "SSL_CERT_FILE=/a file.pem" in told


@pytest.mark.parametrize(("target", "what"), [("lint", "linters"), ("test", "tests")])
def test_whatever_fails_fails_the_run_and_the_rest_is_run(checkout: Path, target: str, what: str) -> None:
    (checkout / "broken").write_text(target)
    ended = _run(checkout)
    assert ended.returncode == 1
    assert ended.stdout.splitlines()[-1] == f"failed: {what}"
    assert {"make lint", "make test"} <= set((checkout / "told").read_text().splitlines())
