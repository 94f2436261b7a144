"""Dagster's SQLite storage, with pools that let in as many runs as they say.

Belongs here: what Dagster's own SQLite storage does wrong for LaFID. Not here: the pools (`dagster.yaml`), storage on Postgres,
which locks a pool's rows.

Dagster claims a place in a pool by a SELECT and an UPDATE. SQLite has no row locks, so that of two runs that ask within some
milliseconds both get the one place: two trainers on one GPU.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dagster._core.storage.event_log.base import ConcurrencyClaimStatus
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage


class _EventLog(SqliteEventLogStorage):
    """Whoever claims or frees a place in a pool is alone at it."""

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with (Path(self._base_dir) / "pools.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def claim_concurrency_slot(
        self, concurrency_key: str, run_id: str, step_key: str, priority: int | None = None
    ) -> ConcurrencyClaimStatus:
        with self._alone():
            return super().claim_concurrency_slot(concurrency_key, run_id, step_key, priority)

    def free_concurrency_slots_for_run(self, run_id: str) -> None:
        with self._alone():
            super().free_concurrency_slots_for_run(run_id)

    def free_concurrency_slot_for_step(self, run_id: str, step_key: str) -> None:
        with self._alone():
            super().free_concurrency_slot_for_step(run_id, step_key)


class SqliteStorage(DagsterSqliteStorage):
    """The same files as Dagster's."""

    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        super().__init__(base_dir, inst_data)
        self._event_log_storage = _EventLog(self._event_log_storage._base_dir)

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> "SqliteStorage":
        return cls.from_local(inst_data=inst_data, **config_value)
