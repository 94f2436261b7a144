"""What the end of a child says of the clip that it worked on: the same words in every table.

Belongs here: endings other than `Done` -> status, reason, detail. Not here: how children end (`workers`).
"""

from typing import NamedTuple

from lafid_assets.outcomes import Reason, Status
from lafid_assets.workers.pool import Crashed, Failed, NotFetched, OutOfMemory, TimedOut

TRIED_AGAIN = frozenset(
    {
        Reason.CRASHED,
        Reason.DEADLINE,
        Reason.MEMORY_LIMIT,
        Reason.ENGINE_FAILED,
        Reason.UNREADABLE,
        Reason.NOT_FETCHED,
    }
)
"""Faults that another try may not meet: of the machine, its memory, its disk. What a decoder says of a file stays as it is."""


class Fault(NamedTuple):
    """How a clip ended that a step could not do."""

    status: Status
    reason: Reason
    detail: str


def fault_of(ending: Failed | Crashed | TimedOut | OutOfMemory | NotFetched) -> Fault:
    """The clip's outcome. A task that raised is a fault of the engine: what a clip can do wrong comes back as its own status."""
    if isinstance(ending, Failed):
        return Fault(Status.ERROR, Reason.ENGINE_FAILED, ending.message)
    if isinstance(ending, NotFetched):
        return Fault(Status.ERROR, Reason.NOT_FETCHED, ending.message)
    if isinstance(ending, Crashed):
        return Fault(Status.ERROR, Reason.CRASHED, f"the child process died with exit code {ending.exit_code}")
    if isinstance(ending, OutOfMemory):
        limit = "there is" if ending.limit_bytes is None else f"{ending.limit_bytes >> 20} MiB"
        return Fault(Status.ERROR, Reason.MEMORY_LIMIT, f"it needed more memory than {limit}")
    return Fault(
        Status.TIMEOUT, Reason.DEADLINE, f"not finished after {ending.deadline_s:.0f} s of computing, or of doing nothing"
    )
