"""A plugin of the tests: whoever runs them keeps their home and the checkout's `.lafid` as they were.

The tests, and all processes that they start, have a home folder of their own; its name and those of all temporary folders hold a
space, as users' folders do. A run in which the checkout's `.lafid` changes fails.
"""

import getpass
import os
import shutil
import tempfile
from pathlib import Path

import pytest

CHECKOUT_HOME = Path(__file__).resolve().parents[1] / ".lafid"
"""Where an installation lives when nobody says otherwise: in this checkout, the user's own."""
_CHANGED = pytest.StashKey[str]()
_BEFORE = pytest.StashKey[dict[str, tuple[int, int]]]()
_HOME = pytest.StashKey[Path]()


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of everything in a folder; nothing when there is none."""
    found = {}
    for path in (folder, *folder.rglob("*")):
        try:
            facts = path.lstat()
        except FileNotFoundError:  # it went meanwhile, or there is no folder
            continue
        found[str(path.relative_to(folder))] = (facts.st_size, facts.st_mtime_ns)
    return found


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):  # xdist's workers have the environment of the process that starts them
        return
    temporary = Path(tempfile.gettempdir()) / f"lafid tests of {getpass.getuser()}"
    temporary.mkdir(mode=0o700, exist_ok=True)
    os.environ["PYTEST_DEBUG_TEMPROOT"] = str(temporary)
    home = config.stash[_HOME] = Path(tempfile.mkdtemp(prefix="home ", dir=temporary))
    for name in [name for name in os.environ if name.startswith("XDG_")]:
        del os.environ[name]
    os.environ["HOME"] = str(home)
    config.stash[_BEFORE] = contents(CHECKOUT_HOME)


def pytest_sessionfinish(session: pytest.Session) -> None:
    before = session.config.stash.get(_BEFORE, None)
    if before is not None and (after := contents(CHECKOUT_HOME)) != before:
        changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        session.config.stash[_CHANGED] = f"the tests changed {CHECKOUT_HOME}: {', '.join(changed[:10])}"
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if _CHANGED in config.stash:
        terminalreporter.write_line(f"FAILED {config.stash[_CHANGED]}", red=True)


def pytest_unconfigure(config: pytest.Config) -> None:
    if _HOME in config.stash:
        shutil.rmtree(config.stash[_HOME], ignore_errors=True)
