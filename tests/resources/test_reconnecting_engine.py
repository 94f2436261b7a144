"""A server that goes away is waited for by who has reached it before. None is asked."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest
import sqlalchemy as sa

from resources import reconnecting_engine as module
from resources.reconnecting_engine import wait_for_server

URL = "postgresql+psycopg2://lafid:secret@127.0.0.1:9/dagster"
AWAY = 'connection to server at "127.0.0.1", port 9 failed: Connection refused'


class Server:
    """Answers each try as a test says."""

    def __init__(self) -> None:
        self.answers: list[str] = []
        self.tries = 0

    def connect(self, *_: Any, **__: Any) -> Any:
        self.tries += 1
        if self.answers and (refused := self.answers.pop(0)):
            raise psycopg2.OperationalError(refused)
        return SimpleNamespace(close=lambda: None, rollback=lambda: None)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr(module, "SECONDS_BETWEEN_TRIES", 0.0)
    return Server()


@pytest.fixture
def engine(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[sa.Engine]:
    engine = sa.create_engine(URL, poolclass=sa.pool.NullPool, _initialize=False)
    monkeypatch.setattr(engine.dialect, "connect", server.connect)
    wait_for_server(engine)
    yield engine
    engine.dispose()


def test_who_has_reached_it_waits_until_it_is_back(engine: sa.Engine, server: Server) -> None:
    engine.raw_connection().close()
    server.answers = [AWAY, "the database system is starting up", ""]
    engine.raw_connection().close()
    assert server.tries == 4


def test_who_has_never_reached_it_hears_so_at_once(engine: sa.Engine, server: Server) -> None:
    server.answers = [AWAY]
    with pytest.raises(psycopg2.OperationalError, match="Connection refused"):
        engine.raw_connection()
    assert server.tries == 1


def test_what_does_not_pass_is_not_waited_for(engine: sa.Engine, server: Server) -> None:
    engine.raw_connection().close()
    server.answers = ['FATAL: database "dagster" does not exist']
    with pytest.raises(psycopg2.OperationalError, match="does not exist"):
        engine.raw_connection()


def test_the_wait_ends(engine: sa.Engine, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.raw_connection().close()
    wait_for_server(impatient := sa.create_engine(URL, poolclass=sa.pool.NullPool, _initialize=False), longest_s=-1.0)
    monkeypatch.setattr(impatient.dialect, "connect", server.connect)
    impatient.raw_connection().close()
    server.answers = [AWAY] * 2
    with pytest.raises(psycopg2.OperationalError, match="Connection refused"):
        impatient.raw_connection()
    assert len(server.answers) == 1
