"""Leases and a clock that is an hour off: the database's clock alone counts."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from resources.leases import owner
from resources.leases.leases import LeaseLost, Leases, StoreBusy
from resources.leases.owner import Owner
from resources.leases.table import LeaseTable, Row

HOUR_S = 3600.0


@contextmanager
def _clock(monkeypatch: pytest.MonkeyPatch, ahead_s: float) -> Iterator[None]:
    """The machine's clock is off, and the database's is not."""
    real_s, real_ns = time.time, time.time_ns
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: real_s() + ahead_s)
        patched.setattr(time, "time_ns", lambda: real_ns() + int(ahead_s * 1e9))
        yield


def _elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is on another machine from now on."""
    monkeypatch.setattr(owner, "_machine", lambda: f"another machine {os.urandom(4).hex()}")


@pytest.mark.parametrize("ahead_s", [HOUR_S, -HOUR_S])
def test_a_living_owner_elsewhere_is_not_taken_for_dead(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, ahead_s: float
) -> None:
    with Leases(postgres_url).held("shard"):
        _elsewhere(monkeypatch)
        with (
            _clock(monkeypatch, ahead_s),
            pytest.raises(StoreBusy, match="others are at work"),
            Leases(postgres_url).held("shard", wait=False),
        ):
            pass


@pytest.mark.parametrize("ahead_s", [HOUR_S, -HOUR_S])
def test_its_own_lease_lives_and_is_taken_over_when_it_dies(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, ahead_s: float
) -> None:
    off = Leases(postgres_url, heartbeat_s=HOUR_S, time_to_live_s=5)
    with _clock(monkeypatch, ahead_s), off.held("shard") as lease:
        lease.require()
        dead = _row(postgres_url)
        table = LeaseTable(postgres_url)
        silent = str(replace(Owner.here("another node"), machine="another", host="elsewhere"))
        table.run(lambda rows: rows.put(replace(dead, owner=silent, heartbeat=dead.heartbeat - 6)))
        with Leases(postgres_url, time_to_live_s=5).held("shard", wait=False) as successor:
            assert successor.token > lease.token
        with pytest.raises(LeaseLost, match="another run took it over"):
            lease.require()


def test_its_tokens_do_not_outlast_the_table_of_leases(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalog that is made anew has no leases, and what was written keeps its tokens: who comes next must have a later one."""
    with _clock(monkeypatch, HOUR_S), Leases(postgres_url).held("shard") as ahead:
        pass
    LeaseTable(postgres_url).run(lambda rows: rows.drop("shard"))
    with Leases(postgres_url).held("shard") as after:
        assert after.token > ahead.token


def _row(url: str) -> Row:
    row = LeaseTable(url).run(lambda rows: rows.get("shard"))
    assert row is not None
    return row
