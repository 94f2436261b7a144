"""Who may take rows of the catalog itself away, where the catalog is SQLite: compaction, while no transaction is under way.

DuckDB reads SQLite without a transaction's isolation. What others add meanwhile is not seen, but what they take away is, so that
a reader of files that are being merged would find neither the small ones nor the large one. Writers only add; compaction, expiry
and copies of the catalog wait until nobody reads. Postgres keeps everybody's moment by itself and needs none of this.

Belongs here: that lock. Not here: who is at work in the store (`leases`).
"""

import fcntl
import os
import time
from pathlib import Path

PATIENCE_S = 10.0
POLL_S = 0.02


class CatalogInUse(Exception):
    """Transactions are under way and do not end."""


class CatalogLock:
    """Shared by transactions, or held by one who is alone; released by the end of a process at the latest.

    Args:
        catalog: the SQLite file; None where there is no need for a lock.
    """

    def __init__(self, catalog: Path | None) -> None:
        self._catalog = catalog

    def take(self, *, alone: bool) -> tuple[int, ...]:
        """Wait for one's turn; what is returned is to be given to `release`.

        Raises:
            CatalogInUse: others do not end.
        """
        if self._catalog is None:
            return ()
        # Whoever wants to be alone closes the gate, so that those who come later wait.
        gate, room = (os.open(self._catalog.with_suffix(suffix), os.O_RDWR | os.O_CREAT, 0o666) for suffix in (".gate", ".lock"))
        try:
            fcntl.flock(gate, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            if not alone:
                fcntl.flock(room, fcntl.LOCK_SH)
                fcntl.flock(gate, fcntl.LOCK_UN)
                return gate, room
            give_up = time.monotonic() + PATIENCE_S
            while True:
                try:
                    fcntl.flock(room, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return gate, room
                except BlockingIOError:
                    if time.monotonic() > give_up:
                        raise CatalogInUse from None
                time.sleep(POLL_S)
        except BaseException:
            release((gate, room))
            raise


def release(taken: tuple[int, ...]) -> None:
    """Let others in."""
    for handle in taken:
        os.close(handle)
