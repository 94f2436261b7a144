"""Saying how far a long step is and how long it will still take.

Belongs here: plain lines on the `lafid` logger, which Dagster records and the command line draws.
Not here: bars and colours (`cli.display`).
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TypeVar

T = TypeVar("T")

LOGGER = logging.getLogger("lafid")
SECONDS_BETWEEN_LINES = 2.0


def track(items: Iterable[T], label: str, total: int | None = None, size: Callable[[], str] | None = None) -> Iterator[T]:
    """Yield `items`, logging every few seconds how many are done and the time left.

    Args:
        total: how many there will be; taken from `items` when it has a length.
        size: what has been made so far, in words.
    """
    count = total if total is not None else len(items) if isinstance(items, Sized) else 0
    begin = last = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES or done == count:
            left_s = (now - begin) / done * max(count - done, 0)
            made = f", {size()}" if size else ""
            LOGGER.info("%s: %d of %d%s, about %.0f s left", label, done, count, made, left_s)
            last = now
