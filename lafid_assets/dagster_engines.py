"""Dagster's records in SQLite, with one SQLAlchemy engine a file.

Belongs here: keeping the engines. Not here: what is recorded.

Dagster makes an engine for every connection, and each compiles the same few statements anew: of a small curation's CPU time that
is a sixth. Their engines hold no connection (`NullPool`), so that keeping it holds no file either.
"""

from collections.abc import Hashable
from functools import lru_cache
from typing import Any

from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage
from sqlalchemy import Engine, create_engine

MOST_FILES = 64
"""Engines kept at once: every run has a file of its own."""


@lru_cache(MOST_FILES)
def _engine(url: str, poolclass: Hashable, connect_args: tuple[tuple[str, Any], ...]) -> Engine:
    return create_engine(url, poolclass=poolclass, connect_args=dict(connect_args))


def kept_engine(url: str, *, poolclass: Hashable, connect_args: dict[str, Any] | None = None) -> Engine:
    """`sqlalchemy.create_engine` as Dagster's storages call it; the same engine for the same arguments."""
    return _engine(url, poolclass, tuple(sorted((connect_args or {}).items())))


def keep_engines() -> None:
    """Give Dagster's storages, in this process, `kept_engine` in place of `create_engine`."""
    for storage in (sqlite_run_storage, sqlite_event_log, sqlite_schedule_storage):
        storage.create_engine = kept_engine  # type: ignore[attr-defined]
