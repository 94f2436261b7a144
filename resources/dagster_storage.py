"""Pools that let in as many runs as they say, and nobody who is dead; and who waits for a place does only that.

Belongs here: what Dagster's own storages do wrong for LaFID. Not here: the pools (`dagster.yaml`).

Dagster claims a place in a pool by a SELECT and an UPDATE. SQLite has no row locks, so that of two runs that ask within some
milliseconds both get the one place: two trainers on one GPU. A killed run keeps its place until a daemon finds its end; without
one, for ever. Both is so on SQLite alone: Postgres locks a pool's rows, and a cluster has a daemon.

On either a run that waits for a place asks without a pause, which burns a core, and does not hear that it is cancelled: the pause
that Dagster means to make (`interval_to_next_pending_claim_check`) is never longer than none.
"""

import fcntl
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import dagster as dg
from dagster._core.storage.event_log.base import ConcurrencyClaimStatus
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._utils.concurrency import ConcurrencyKeyInfo

from model.files import locked

Asked = ParamSpec("Asked")
SECONDS_BETWEEN_CLAIMS = 1.0


@dataclass
class _Sign:
    """A locked file, the sign that a run lives. The lock ends with the process, however it dies, and with all who inherited it.

    Attributes:
        steps: of the run, that have or want a place.
    """

    descriptor: int
    steps: set[str] = field(default_factory=set)


_signs: dict[str, _Sign] = {}
"""Run of this process to its sign."""


def signs_of_life(run_id: str) -> tuple[int, ...]:
    """File descriptors that a child must inherit which may outlive its run: so long the run keeps its places."""
    return (_signs[run_id].descriptor,) if run_id in _signs else ()


def pausing(claim: Callable[Asked, ConcurrencyClaimStatus]) -> Callable[Asked, ConcurrencyClaimStatus]:
    """A storage's `claim_concurrency_slot`, which where it gets no place makes a pause in which the run may be cancelled."""

    @wraps(claim)
    def claim_or_pause(*given: Asked.args, **named: Asked.kwargs) -> ConcurrencyClaimStatus:
        status = claim(*given, **named)
        if not status.is_claimed:
            with dg.raise_execution_interrupts():
                time.sleep(SECONDS_BETWEEN_CLAIMS)
        return status.with_sleep_interval(0.0)

    return claim_or_pause


class _EventLog(SqliteEventLogStorage):
    """Whoever claims or frees a place in a pool is alone at it."""

    def _alone(self) -> AbstractContextManager[None]:
        return locked(Path(self._base_dir) / "pools.lock")

    @pausing
    def claim_concurrency_slot(
        self, concurrency_key: str, run_id: str, step_key: str, priority: int | None = None
    ) -> ConcurrencyClaimStatus:
        with self._alone():
            self._give_sign(run_id, step_key)
            status = super().claim_concurrency_slot(concurrency_key, run_id, step_key, priority)
            if not status.is_claimed and self._free_the_dead([concurrency_key]):
                status = super().claim_concurrency_slot(concurrency_key, run_id, step_key, priority)
        return status

    def free_concurrency_slots_for_run(self, run_id: str) -> None:
        with self._alone():
            super().free_concurrency_slots_for_run(run_id)
            self._take_sign_back(run_id)

    def free_concurrency_slot_for_step(self, run_id: str, step_key: str) -> None:
        with self._alone():
            super().free_concurrency_slot_for_step(run_id, step_key)
            if run_id in _signs:
                _signs[run_id].steps.discard(step_key)
                if not _signs[run_id].steps:
                    self._take_sign_back(run_id)

    def get_concurrency_infos(self, concurrency_keys: Sequence[str]) -> Mapping[str, ConcurrencyKeyInfo]:
        """The pools as the daemon's queue and the UI see them: without the dead."""
        with self._alone():
            self._free_the_dead(concurrency_keys)
        return super().get_concurrency_infos(concurrency_keys)

    def _free_the_dead(self, pools: Sequence[str]) -> bool:
        """Whether there were any in these pools, with a place or waiting for one."""
        infos = super().get_concurrency_infos(pools).values()
        holding = {slot.run_id for info in infos for slot in info.claimed_slots}
        runs = holding | {step.run_id for info in infos for step in info.pending_steps}
        dead = [run for run in runs if run not in _signs and self._is_dead(run)]
        for run in dead:
            super().free_concurrency_slots_for_run(run)
            self._sign(run).unlink(missing_ok=True)
        return bool(dead)

    def _sign(self, run_id: str) -> Path:
        return Path(self._base_dir) / "pools" / run_id

    def _give_sign(self, run_id: str, step_key: str) -> None:
        if run_id not in _signs:
            self._sign(run_id).parent.mkdir(exist_ok=True)
            descriptor = os.open(self._sign(run_id), os.O_RDWR | os.O_CREAT, 0o666)
            # Another process of the same run may hold it, or its child: then they all do.
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            _signs[run_id] = _Sign(descriptor)
        _signs[run_id].steps.add(step_key)

    def _take_sign_back(self, run_id: str) -> None:
        self._sign(run_id).unlink(missing_ok=True)
        if run_id in _signs:
            os.close(_signs.pop(run_id).descriptor)

    def _is_dead(self, run_id: str) -> bool:
        """Whether a run is dead. One that gave no sign counts as alive."""
        with suppress(FileNotFoundError):
            descriptor = os.open(self._sign(run_id), os.O_RDWR)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            finally:
                os.close(descriptor)
            return True
        return False


class SqliteStorage(DagsterSqliteStorage):
    """The same files as Dagster's."""

    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        super().__init__(base_dir, inst_data)
        self._event_log_storage = _EventLog(self._event_log_storage._base_dir)

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> "SqliteStorage":
        return cls.from_local(inst_data=inst_data, **config_value)
