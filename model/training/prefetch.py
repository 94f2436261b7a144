"""The next item while the current one is being used: a run's clips are read from disk while the device computes.

Belongs here: running an iterator in a thread. Not here: what it draws (`sampling`).
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")


def one_ahead(items: Iterator[_Item], reader: ThreadPoolExecutor) -> Iterator[tuple[_Item, float]]:
    """The same items in the same order, each computed in `reader` while the one before it is used, and the seconds waited for it.

    What `items` raises is raised where that item would have come. Whoever opened `reader` closes it: at most one item is then
    still being computed, and is waited for.

    Args:
        items: used by `reader`'s thread alone from here on.
        reader: of one thread, which does nothing else.
    """
    asked, coming = time.monotonic(), reader.submit(next, items, None)
    while (item := coming.result()) is not None:
        waited_s = time.monotonic() - asked
        coming = reader.submit(next, items, None)
        yield item, waited_s
        asked = time.monotonic()
