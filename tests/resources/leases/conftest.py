"""Leases in SQLite and in Postgres."""

from pathlib import Path

import pytest

from resources.leases.leases import Leases
from resources.leases.table import LeaseTable
from tests.resources.leases.patience import HOUR_S


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        return request.getfixturevalue("postgres_url")
    return f"sqlite:///{tmp_path}/store/catalog.sqlite"


@pytest.fixture
def table(url: str) -> LeaseTable:
    return LeaseTable(url)


@pytest.fixture
def leases(url: str) -> Leases:
    """Nobody dies of silence here, as far as a test lasts."""
    return Leases(url, heartbeat_s=HOUR_S, time_to_live_s=HOUR_S, poll_s=0.01)
