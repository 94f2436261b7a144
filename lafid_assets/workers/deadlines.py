"""How long a child process may take, on a machine that others use, too.

Belongs here: CPU time and the clock on the wall -> whether a task is given up. Not here: children (`workers`), how many seconds a
task gets (each step says).
"""

HANGING_SHARE = 0.01
"""A child that takes less of a core than this over its whole deadline waits for something that does not come."""


class Deadline:
    """The deadline of one task, in seconds of CPU time, so that a busy machine costs no clip.

    A child that hangs uses none: it is given up after as many seconds on the wall.
    """

    def __init__(self, limit_s: float, now_s: float, cpu_s: float) -> None:
        self.limit_s = limit_s
        self._cpu_at_start_s = cpu_s
        self._last_progress = now_s, cpu_s

    def has_passed(self, now_s: float, cpu_s: float) -> bool:
        """Whether the task is given up, asked with the clocks as they are now."""
        since_s, used_s = self._last_progress
        if cpu_s - used_s >= HANGING_SHARE * self.limit_s:
            self._last_progress = now_s, cpu_s
            since_s = now_s
        return cpu_s - self._cpu_at_start_s > self.limit_s or now_s - since_s > self.limit_s

    def forgive(self, seconds: float) -> None:
        """Nobody looked for so long: a child that waited for its answer to be taken did not hang."""
        since_s, used_s = self._last_progress
        self._last_progress = since_s + seconds, used_s


def cpu_seconds(pid: int | None) -> float:
    """CPU time that the process and what it has waited for have used; 0 for one that has ended."""
    import psutil

    try:
        used = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(used.user + used.system + used.children_user + used.children_system)
