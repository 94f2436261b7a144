"""What the tests of leases share: times, a row of the table, and waiting for what another thread or process does."""

import time
from collections.abc import Callable

from resources.leases.table import LeaseTable, Row

HOUR_S = 3600.0
LONG_S = 60.0


def row_of(table: LeaseTable, name: str) -> Row | None:
    return table.run(lambda rows: rows.get(name))


def until(true: Callable[[], object]) -> None:
    give_up = time.monotonic() + LONG_S
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.01)
