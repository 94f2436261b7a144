"""How many cores this process may keep busy.

Belongs here: that number, and lowering it for a run that was given fewer than its machine has. Not here: what is done with them.
"""

import os

VARIABLE = "LAFID_CPUS"


def usable_cores() -> int:
    """Those that this process may run on, or as many of them as its run was given."""
    allowed = len(os.sched_getaffinity(0))
    given = os.environ.get(VARIABLE)
    return max(1, min(allowed, int(float(given)))) if given else allowed


def limit_cores(given: float) -> None:
    """Tell this process and its children how many cores their run was given."""
    os.environ[VARIABLE] = str(given)
