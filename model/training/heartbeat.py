"""Signs of life between the processes of a training: one that dies, or fails, ends the others within minutes, by its name.

Belongs here: telling and listening, in a thread, and ending this process. Not here: what they compute together (`parallel`).

Without, the others wait in a sum that never comes: for the group's two hours over NCCL; over gloo it breaks off and names an
address. torchrun ends the processes of its own machine and no other's.
"""

import json
import logging
import os
import socket
import time
from datetime import timedelta
from threading import Event, Thread
from types import TracebackType
from typing import Protocol, Self

import torch.distributed as dist

_LOGGER = logging.getLogger("lafid.training")
_BEAT_S = 2.0
_MOST_SILENT = 60
"""Beats without a sign after which a process is taken for dead: two minutes, for a thread may be kept from its turn."""
_SUSPECT = 3
"""The same where a sum broke off, so that somebody is gone for certain."""
_PARTING_S = 20.0
"""How long this process may take to end by itself once another is gone; in a sum that never comes it cannot."""


class EndedTogether(Exception):
    """All processes raise it at the same place: none is lost to the others."""


class RankLost(RuntimeError):
    """Another process is gone; the message names it."""


class Store(Protocol):
    """What all processes read and write."""

    def set(self, key: str, value: str) -> None: ...

    def multi_get(self, keys: list[str]) -> list[bytes]: ...


def shared_store() -> Store:
    """A connection of its own to the store in which the processes met: that of rank 0, or of torchrun on its machine."""
    place = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    return dist.TCPStore(*place, is_master=False, wait_for_workers=False, timeout=timedelta(seconds=60))


class Heartbeat:
    """This process's signs, and its ear for the others', as long as the block lasts.

    Raises (on leaving the block):
        RankLost: in place of a sum's error, where another process is gone.
    """

    def __init__(self, store: Store, rank: int, world: int) -> None:
        self._store, self._rank = store, rank
        # torchrun may start all anew in the same store.
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        self._keys = [f"lafid/{attempt}/{other}" for other in range(world)]
        self._name = f"rank {rank} ({socket.gethostname()}, process {os.getpid()})"
        self._beats = 0
        self._heard: dict[int, tuple[int | None, int]] = {}
        """Of every other process: its last beat, and for how many looks it is that."""
        self._over = Event()
        self._thread = Thread(target=self._live, name="lafid-heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._tell(None)
        self._thread.start()
        return self

    def __exit__(self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        gone = None
        # What torch.distributed raises where a process is gone; over gloo it is a plain RuntimeError.
        if type(error) is RuntimeError or isinstance(error, dist.DistError):
            gone = self._whose_fault()
        try:
            well = error is None or isinstance(error, EndedTogether)
            self._tell("" if well else gone or f"{type(error).__name__}: {error}")
        except RuntimeError:  # the store is gone, so that nobody can be told
            _LOGGER.debug("the others are not told of the end", exc_info=True)
        if gone is not None:
            raise RankLost(gone) from error

    def _live(self) -> None:
        while not self._over.wait(_BEAT_S):
            gone = self._look(_MOST_SILENT)
            if gone is not None:
                _LOGGER.error("%s. This process ends, too", gone)
                if not self._over.wait(_PARTING_S):
                    os._exit(1)
                return

    def _whose_fault(self) -> str | None:
        """None where all others still live some beats later, so that the error is this process's own."""
        for _ in range(2 * _SUSPECT):
            time.sleep(_BEAT_S)
            gone = self._look(_SUSPECT)
            if gone is not None:
                return gone
        return None

    def _look(self, most_silent: int) -> str | None:
        """Gives a sign, and names the others that are gone: that say so, or were silent for so many looks; None: all live."""
        self._beats += 1
        try:
            self._tell(None)
            told = [json.loads(found) for found in self._store.multi_get(self._keys)]
        except RuntimeError as error:
            return f"rank 0, or the torchrun beside it, is gone: the store in which the processes met does not answer ({error})"
        gone = []
        for rank, (name, beat, end) in enumerate(told):
            if end:
                gone.append(f"{name} failed: {end}")
            elif end is None and rank != self._rank:
                last, looks = self._heard.get(rank, (None, 0))
                self._heard[rank] = beat, looks + 1 if beat == last else 0
                if self._heard[rank][1] >= most_silent:
                    gone.append(
                        f"{name} has given no sign of life for {most_silent * _BEAT_S:.0f} s: it died, or its machine did"
                    )
        return "; ".join(gone) or None

    def _tell(self, end: str | None) -> None:
        """This process's line: who it is, its beat, and how it ended: None: not yet, empty: well."""
        self._store.set(self._keys[self._rank], json.dumps([self._name, self._beats, end]))
