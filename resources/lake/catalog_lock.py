"""Who may be at the catalog, where it is SQLite: all who read it together, or one who commits alone.

DuckDB reads SQLite without a transaction's isolation: a reader would see halves of what others commit meanwhile, and find no
rows, or twice as many, without an error. So a commit waits until nobody reads, and takes milliseconds. A writer reads, too,
until it commits. Postgres keeps everybody's moment by itself and needs none of this.

Belongs here: that lock. Not here: who is at work in the store (`leases`).
"""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE_S = 120.0
POLL_S = 0.005
CLOSED_S, OPEN_S = 2.0, 0.1
"""How long the gate is closed at once, longer than nearly any read takes; and open, for those who wait before it."""


class CatalogInUse(Exception):
    """Others read and do not end."""


class CatalogLock:
    """Shared by all who read, or held by one who commits; released by the end of a process at the latest.

    A thread that holds it already may read under it. It may not be alone before it has let go: it would wait for itself.

    Args:
        catalog: the SQLite file; None where there is no need for a lock.
    """

    def __init__(self, catalog: Path | None) -> None:
        self._catalog = catalog
        self._thread = threading.local()

    @contextmanager
    def held(self, *, alone: bool) -> Iterator[None]:
        """Wait for one's turn.

        Raises:
            CatalogInUse: others do not end.
            RuntimeError: the thread reads already and wants to write.
        """
        depth = getattr(self._thread, "depth", 0)
        if depth and alone:
            raise RuntimeError("a transaction of the lake is begun inside one that reads")
        taken = () if self._catalog is None or depth else _take(self._catalog, alone=alone)
        self._thread.depth = depth + 1
        try:
            yield
        finally:
            self._thread.depth = depth
            for handle in taken:
                os.close(handle)


def _take(catalog: Path, *, alone: bool) -> tuple[int, ...]:
    gate, room = (os.open(catalog.with_suffix(suffix), os.O_RDWR | os.O_CREAT, 0o666) for suffix in (".gate", ".lock"))
    try:
        if alone:
            _wait_alone(gate, room)
        else:
            fcntl.flock(gate, fcntl.LOCK_SH)
            fcntl.flock(room, fcntl.LOCK_SH)
            fcntl.flock(gate, fcntl.LOCK_UN)
        return gate, room
    except BaseException:
        for handle in (gate, room):
            os.close(handle)
        raise


def _wait_alone(gate: int, room: int) -> None:
    """Whoever wants to be alone closes the gate, so that those who come later wait; and opens it now and then, so that these do
    not wait for a reader that never ends.

    Raises:
        CatalogInUse: others do not end.
    """
    give_up = time.monotonic() + PATIENCE_S
    while True:
        fcntl.flock(gate, fcntl.LOCK_EX)
        open_gate = time.monotonic() + CLOSED_S
        while not _is_taken(room):
            if time.monotonic() > give_up:
                raise CatalogInUse
            if time.monotonic() > open_gate:
                break
            time.sleep(POLL_S)
        else:
            return
        fcntl.flock(gate, fcntl.LOCK_UN)
        time.sleep(OPEN_S)


def _is_taken(room: int) -> bool:
    try:
        fcntl.flock(room, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
