"""Leases while their database does not answer."""

import threading
from collections.abc import Callable

import pytest

from resources.leases.leases import LeaseLost, Leases, LeasesUnusable
from resources.leases.table import LeaseTable
from tests.resources.leases.patience import HOUR_S, row_of, until


class Outage(threading.Event):
    """While it is set, the database does not answer."""

    unanswered = 0


@pytest.fixture
def outage(monkeypatch: pytest.MonkeyPatch) -> Outage:
    silent, answering = Outage(), LeaseTable.run

    def run(self: LeaseTable, change: Callable[..., object]) -> object:
        if silent.is_set():
            silent.unanswered += 1
            raise LeasesUnusable("no answer")
        return answering(self, change)

    monkeypatch.setattr(LeaseTable, "run", run)
    return silent


def test_a_short_outage_costs_nothing(url: str, table: LeaseTable, outage: Outage, caplog: pytest.LogCaptureFixture) -> None:
    with Leases(url, heartbeat_s=0.02).held("shard") as lease:
        outage.set()
        until(lambda: outage.unanswered > 3)
        lease.require()
        outage.clear()
        before = row_of(table, "shard")
        until(lambda: row_of(table, "shard") != before)
        lease.require()
    assert caplog.text.count("leases are not renewed") == 1


def test_a_lease_that_could_have_been_taken_over_unseen_is_not_relied_on(leases: Leases, outage: Outage, url: str) -> None:
    with Leases(url, heartbeat_s=HOUR_S, time_to_live_s=0.0).held("shard") as lease:
        outage.set()
        with pytest.raises(LeaseLost, match="could not be renewed .* no answer"):
            lease.require()
        outage.clear()
        lease.require()


def test_what_ends_in_an_outage_is_given_back_after_it(url: str, table: LeaseTable, outage: Outage) -> None:
    leases = Leases(url, heartbeat_s=0.02)
    with leases.at_work("a run"), leases.held("shard") as before:
        outage.set()
    outage.clear()
    until(lambda: not table.run(lambda rows: rows.below("work/")))
    with leases.held("shard") as after:
        assert after.token > before.token
