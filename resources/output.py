"""What a child process prints stands in its log line by line, in order, however the process ends.

Belongs here: the standard output of processes that this project starts. Not here: where it leads (`trainer.client`).
"""

import io
import sys


def print_line_by_line() -> None:
    """Every line printed from now on is written at once.

    Python keeps 8 KiB of what is printed to a file or a pipe until the process ends by itself: lines on stderr overtake it, and
    a killed process takes it along. `PYTHONUNBUFFERED` would help, but nobody sets it for us.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # whoever put something else there keeps it
        sys.stdout.reconfigure(line_buffering=True)
