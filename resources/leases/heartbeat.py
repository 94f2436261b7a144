"""What this process holds of the leases, and the thread that says so to the database every few seconds.

Belongs here: heartbeats, what they find out, and giving back. Not here: taking (`leases`).
"""

import logging
import threading
import time
from dataclasses import dataclass, replace

from resources.leases.leases import ALONE, LeaseLost, LeasesUnusable
from resources.leases.owner import described
from resources.leases.table import LeaseTable, Row, Rows

LOGGER = logging.getLogger("lafid.leases")
OVERSLEPT = "it was taken for dead, and another command has been alone in the store since. Nothing more is written; run it again"


@dataclass(eq=False)
class Hold:
    """A lease that this process took.

    Args:
        row: as it was taken.
        shared: the row is nobody else's, so that it is written again when it is gone, and removed in the end.
        beaten: when the database last knew of it, by this process's own clock.
        lost: why it is held no longer; empty while it is.
    """

    row: Row
    shared: bool
    beaten: float
    lost: str = ""


class Heart:
    """The heartbeat of one process on one table. The thread runs while there is something to say and ends with the process."""

    def __init__(self, table: LeaseTable, heartbeat_s: float, time_to_live_s: float) -> None:
        self._table, self._heartbeat_s, self._time_to_live_s = table, heartbeat_s, time_to_live_s
        self._changed = threading.Condition()
        self._holds: list[Hold] = []
        self._leaving: list[Hold] = []
        self._thread: threading.Thread | None = None
        # A beat between a hold's last look at the lists and its change of the rows would bring a row back that was given back.
        self._at_database = threading.Lock()

    def add(self, hold: Hold) -> None:
        """Keep a lease alive from now on."""
        with self._changed:
            self._holds.append(hold)
            self._start()

    def leave(self, hold: Hold) -> None:
        """Give a lease back, now or as soon as the database answers; also one of which is not known whether it was taken."""
        with self._changed:
            self._holds = [other for other in self._holds if other is not hold]
            self._leaving.append(hold)
            self._start()
        try:
            self.beat()
        except LeasesUnusable as error:
            LOGGER.warning("%s is given back as soon as the database answers: %s", hold.row.name, error)
        with self._changed:
            self._changed.notify_all()

    def beat(self) -> None:
        """Renew all that is held and give back what is not.

        Raises:
            LeasesUnusable: the database does not answer; the holds are what they were.
        """
        with self._at_database:
            with self._changed:
                holds, leaving = [hold for hold in self._holds if not hold.lost], list(self._leaving)
            beaten = time.monotonic()
            lost = self._table.run(lambda rows: _written(rows, holds, leaving)) if holds or leaving else {}
            with self._changed:
                self._leaving = [hold for hold in self._leaving if hold not in leaving]
                for hold in holds:
                    hold.beaten, hold.lost = beaten, lost.get(hold.row.owner, "")
        for told in lost.values():
            LOGGER.error("%s", told)

    def require(self, hold: Hold) -> None:
        """Make sure that a lease is still held.

        Raises:
            LeaseLost: somebody else took it, or could have: the database has not answered for its time to live.
        """
        if not hold.lost:
            try:
                self.beat()
            except LeasesUnusable as error:
                silent_s = time.monotonic() - hold.beaten
                if silent_s >= self._time_to_live_s:
                    raise LeaseLost(
                        f"{hold.row.name} could not be renewed for {silent_s:.0f} s, so that another run may compute it now: "
                        f"nothing more is written. {error}"
                    ) from error
        if hold.lost:
            raise LeaseLost(hold.lost)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._beat_on, name="lafid leases", daemon=True)
            self._thread.start()

    def _beat_on(self) -> None:
        silent = False
        while True:
            with self._changed:
                self._changed.wait_for(lambda: not self._holds and not self._leaving, self._heartbeat_s)
                if not self._holds and not self._leaving:
                    self._thread = None
                    return
            try:
                self.beat()
            except LeasesUnusable as error:
                if not silent:
                    LOGGER.warning("leases are not renewed, tried again every %.0f s: %s", self._heartbeat_s, error)
                silent = True
            else:
                silent = False


def _written(rows: Rows, holds: list[Hold], leaving: list[Hold]) -> dict[str, str]:
    """Change the rows; why a lease is lost, by its owner."""
    lost, now = {}, rows.now()
    for hold in leaving:
        rows.free(hold.row, remove=hold.shared)
    for hold in holds:
        if rows.renew(hold.row, now):
            continue
        if not hold.shared:
            lost[hold.row.owner] = _reason(hold.row, rows.get(hold.row.name))
            continue
        LOGGER.warning("%s was taken for dead and says again that it is at work", described(hold.row.owner))
        rows.put(replace(hold.row, heartbeat=now))
        alone = rows.get(ALONE)
        if alone is not None and alone.token > hold.row.token:
            early = [other.row for other in holds if not other.shared and other.row.token < alone.token]
            lost |= {row.owner: f"{row.name} is no longer held by this run: {OVERSLEPT}" for row in early}
    return lost


def _reason(before: Row, after: Row | None) -> str:
    if after is None:
        who = "it is gone from the table of leases"
    else:
        who = (
            f"another run took it over ({described(after.owner) or 'given back since'}; token {before.token}, now {after.token})"
        )
    return f"{before.name} is no longer held by this run: {who}. Nothing more is written; run it again"
