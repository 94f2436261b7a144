"""Who is at work in a home: runs side by side, or `lafid forget` or `lafid sweep` alone.

Belongs here: the lock. Not here: who takes it (`lafid_assets.definitions` for every run, the two commands in `lafid_assets.cli`).
It is the operating system's, so a process that is killed lets go of it; it knows the processes of one machine.
"""

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOGGER = logging.getLogger("lafid.home")
LOCK = "runs.lock"


class HomeBusy(RuntimeError):
    """Runs are at work in the home; the message says what to do."""


@contextmanager
def at_work(home: Path) -> Iterator[None]:
    """Held by a run while it reads and writes; waits while somebody is alone in the home."""
    with _opened(home) as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            LOGGER.warning("`lafid forget` or `lafid sweep` is at work in %s: waiting for it", home)
            fcntl.flock(handle, fcntl.LOCK_SH)
        yield


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Held by whoever must be the only one.

    Raises:
        HomeBusy: a run is at work.
    """
    with _opened(home) as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HomeBusy(
                f"a run is at work in {home} and writes what this command removes: wait for it or end it in `lafid ui`, then run "
                "the command again"
            ) from None
        yield


@contextmanager
def _opened(home: Path) -> Iterator[int]:
    home.mkdir(parents=True, exist_ok=True)
    with (home / LOCK).open("a") as handle:
        yield handle.fileno()
