"""Who works on what in a store: one run a partition, runs side by side, or `lafid forget` or `lafid sweep` alone.

Belongs here: taking a lease, and when its owner counts as dead. Not here: which steps take which lease, the thread that keeps
leases alive (`heartbeat`), the table and its database (`table`).

A lease belongs to the store, whose catalog's database holds it, so that it counts on every machine that uses the store. An owner
on the same machine is dead when its process has ended, and only then: a machine that slept takes nothing from anybody. Of an
owner elsewhere only its heartbeat is known. Whoever was taken for dead too early finds out by `Lease.require`; the token tells
what it still writes from what its successor writes.
"""

import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from resources.leases.owner import Owner, described
from resources.transient_errors import Transient

if TYPE_CHECKING:
    from resources.leases.heartbeat import Heart
    from resources.leases.table import LeaseTable, Row, Rows

LOGGER = logging.getLogger("lafid.leases")
ALONE = "alone"
WORK = "work/"
MOST_NAMED = 5


class LeasesUnusable(OSError):
    """The leases' database cannot be used; the message names it and the remedy."""


class LeaseLost(RuntimeError, Transient):
    """Somebody else has the lease, or may have it; what this run computes must not be written any more."""


class StoreBusy(RuntimeError):
    """Others are at work in the store; the message names them and says what to do."""


def _always_held() -> None:
    """Nobody else is there."""


@dataclass(frozen=True)
class Lease:
    """What `Leases.held` gives; made by hand, it is one that nobody takes away.

    Args:
        token: rises every time that the lease of this name is taken.
        require: raises `LeaseLost` when somebody else took the lease over. It asks the database: called right before a write.
    """

    name: str
    token: int
    require: Callable[[], None] = field(default=_always_held, repr=False, compare=False)


class Leases:
    """Nothing is opened before it is used, and no connection is kept; a forked child holds nothing of its parent's.

    Args:
        url: of the catalog's database, `sqlite:////path/to/file` or `postgresql://...`. Beside a catalog in SQLite the leases lie
            in a file of their own (`table` says why).
        heartbeat_s: how often a process says that it lives, in seconds.
        time_to_live_s: how long an owner elsewhere may be silent, in seconds.
        poll_s: how often a waiting run looks, in seconds.

    All methods raise `LeasesUnusable` when the database cannot be used; what is held already outlasts that for its time to live.
    """

    def __init__(self, url: str, *, heartbeat_s: float = 10.0, time_to_live_s: float = 60.0, poll_s: float = 0.5) -> None:
        self._url = url
        self._heartbeat_s, self._time_to_live_s, self._poll_s = heartbeat_s, time_to_live_s, poll_s
        # A forked child finds its parent's locks taken for ever, so that it begins anew.
        self._processes: dict[int, tuple[LeaseTable, Heart]] = {}

    @contextmanager
    def held(self, name: str, *, wait: bool = True) -> Iterator[Lease]:
        """Keep others off whatever `name` names; waits while a live owner has it, or another process is alone. Not to be taken
        again while it is held.

        Raises:
            StoreBusy: a live owner has it, and is not waited for.
        """

        def in_the_way(rows: "Rows") -> list["Row"]:
            return [*self._living(rows, [rows.get(name)]), *self._alone(rows)]

        with self._holding(name, name, in_the_way, f"another run computes {name}" if wait else None) as lease:
            yield lease

    def names_held(self) -> list[str]:
        """What living owners hold now, but for `at_work` and `alone`."""

        def held(rows: "Rows") -> list["Row"]:
            return self._living(rows, rows.taken())

        names = [row.name for row in self._of_this_process()[0].run(held)]
        return [name for name in names if name != ALONE and not name.startswith(WORK)]

    @contextmanager
    def at_work(self, what: str) -> Iterator[None]:
        """Held by a run while it reads and writes, beside any number of others; waits while another process is alone."""

        def in_the_way(rows: "Rows") -> list["Row"]:
            self._working(rows)
            return self._alone(rows)

        with self._holding(f"{WORK}{uuid.uuid4().hex}", what, in_the_way, "another command is alone in the store"):
            yield

    @contextmanager
    def alone(self, what: str) -> Iterator[Lease]:
        """Held by whoever must be the only one. A run that was taken for dead loses all its leases by it; what it writes all the
        same, before it knows, `Lake.alone` keeps out.

        Raises:
            StoreBusy: others are at work, or alone, this process among them.
        """

        def in_the_way(rows: "Rows") -> list["Row"]:
            return [*self._working(rows), *self._living(rows, [rows.get(ALONE)])]

        with self._holding(ALONE, what, in_the_way, waits=None) as lease:
            yield lease

    @contextmanager
    def _holding(self, name: str, what: str, in_the_way: Callable[["Rows"], list["Row"]], waits: str | None) -> Iterator[Lease]:
        """Take a lease, keep it alive, give it back.

        Args:
            waits: what to say once while there are others in the way; None when that is an error.
        """
        from resources.leases.heartbeat import Hold
        from resources.leases.table import Row

        table, heart = self._of_this_process()
        owner, begun = str(Owner.here(what)), []

        def take(rows: "Rows") -> list["Row"]:
            if blocking := in_the_way(rows):
                return blocking
            before = rows.get(name)
            now = rows.now()  # by the clock that all share: a token of a clock that runs ahead would outlast the table itself
            token = max(before.token + 1 if before else 0, int(now * 1e6))
            begun.append(Hold(Row(name, token, owner, now), name.startswith(WORK), time.monotonic()))
            rows.put(begun[-1].row)
            return []

        said = False
        try:
            while blocking := table.run(take):
                if waits is None:
                    raise StoreBusy(
                        f"others are at work in the store, and {what} would remove what they write ({_named(blocking)}): "
                        "wait for them or end them in `lafid ui`, then run the command again"
                    )
                if not said:
                    LOGGER.warning("%s: waiting for it (%s)", waits, _named(blocking))
                said = True
                time.sleep(self._poll_s)
            heart.add(begun[-1])
            yield Lease(name, begun[-1].row.token, lambda: heart.require(begun[-1]))
        finally:
            # Also when the database fell silent while the lease was taken: it may have been. A forked child gives nothing back.
            if begun and self._of_this_process()[1] is heart:
                heart.leave(begun[-1])

    def _of_this_process(self) -> tuple["LeaseTable", "Heart"]:
        from resources.leases.heartbeat import Heart
        from resources.leases.table import LeaseTable

        if os.getpid() not in self._processes:
            table = LeaseTable(self._url)
            heart = Heart(table, self._heartbeat_s, self._time_to_live_s)
            self._processes.setdefault(os.getpid(), (table, heart))  # another thread may have been quicker
        return self._processes[os.getpid()]

    def _working(self, rows: "Rows") -> list["Row"]:
        """Who is at work; what others left behind is removed."""
        found = rows.below(WORK)
        living = self._living(rows, found)
        for row in found:
            if row not in living:
                rows.drop(row.name)
        return living

    def _alone(self, rows: "Rows") -> list["Row"]:
        """Another process that is alone."""
        return [row for row in self._living(rows, [rows.get(ALONE)]) if not _is_ours(row)]

    def _living(self, rows: "Rows", found: Sequence["Row | None"]) -> list["Row"]:
        now = rows.now()
        return [row for row in found if row is not None and self._lives(row, now)]

    def _lives(self, row: "Row", now: float) -> bool:
        owner = Owner.read(row.owner)
        runs = owner.runs() if owner else None
        if not row.owner or runs is not None:
            return bool(runs)
        return abs(now - row.heartbeat) <= self._time_to_live_s


def _named(rows: list["Row"]) -> str:
    more = [f"{len(rows) - MOST_NAMED} more"] if len(rows) > MOST_NAMED else []
    return "; ".join([described(row.owner) for row in rows[:MOST_NAMED]] + more)


def _is_ours(row: "Row") -> bool:
    owner = Owner.read(row.owner)
    return owner is not None and owner.is_this_process()
