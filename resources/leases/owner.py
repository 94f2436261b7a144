"""Who holds a lease: a process of a machine, what it does there, and whether it still runs.

Belongs here: the text that stands in a lease's row. Not here: when a lease is free (`leases`), where it lies (`table`).
"""

import json
import os
import socket
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

SAME_START_S = 1.0  # a process id is not given out again within that time


@dataclass(frozen=True)
class Owner:
    """One taking of one lease; `hold` tells it from any other of the same process.

    Args:
        host: name of the machine, for the reader of a message.
        machine: which boot of which kernel and which of its pid namespaces the pid counts in; empty where nothing tells.
        started: seconds from the machine's boot to the start of the process. Clocks may be set meanwhile; this stays.
        what: what the owner is doing, in the user's words.
        since: seconds since the epoch by the owner's clock.
    """

    host: str
    machine: str
    pid: int
    started: float
    what: str
    since: float
    hold: str

    @classmethod
    def here(cls, what: str) -> "Owner":
        """This process, from now on."""
        pid = os.getpid()
        started = _started(pid)
        return cls(socket.gethostname(), _machine(), pid, started or 0.0, what, time.time(), uuid.uuid4().hex)

    @classmethod
    def read(cls, text: str) -> "Owner | None":
        """The owner that `str` wrote down; None for a text that it did not write."""
        try:
            values = json.loads(text)
            return cls(**values)
        except (ValueError, TypeError):
            return None

    def __str__(self) -> str:
        return json.dumps(asdict(self))

    def is_this_process(self) -> bool:
        """Whether it is the process that asks, whatever it took."""
        here = Owner.here("")
        return self._at == here._at and abs(self.started - here.started) < SAME_START_S

    def runs(self) -> bool | None:
        """Whether the process still runs; None where that cannot be seen from here: another machine, another container."""
        import psutil

        if (self.host, self.machine) != (socket.gethostname(), _machine()):
            return None
        try:
            started = _started(self.pid)
        except psutil.AccessDenied:
            return None
        return started is not None and abs(started - self.started) < SAME_START_S

    @property
    def _at(self) -> tuple[str, str, int]:
        return self.host, self.machine, self.pid


def described(text: str) -> str:
    """An owner's text for a message: what, where, and since when."""
    owner = Owner.read(text)
    if owner is None:
        return text
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(owner.since))
    return f"{owner.what} on {owner.host}, process {owner.pid}, since {since}"


def _started(pid: int) -> float | None:
    """Seconds from boot to the start of a process; None when it has ended, even if nobody has waited for it."""
    import psutil

    try:
        process = psutil.Process(pid)
        ended = process.status() == psutil.STATUS_ZOMBIE
        return None if ended else process.create_time() - psutil.boot_time()
    except psutil.NoSuchProcess:
        return None


def _machine() -> str:
    try:
        # Containers of one machine share its boot, and often its host name, but not their pids.
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""
