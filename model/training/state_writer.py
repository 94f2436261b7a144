"""Saves a run's states beside its computation: a copy in host memory, which a thread writes while training goes on.

Belongs here: when a state is due, the copy, the thread, and for how long training stood still. Not here: what a state is and
how it lies on the disk (`state`). One process writes, and no other needs to know when: nothing that is learned depends on it.
"""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from model.presets import TrainConfig
from model.training.state import TrainState, TrainStateError, save_state

_LOGGER = logging.getLogger("lafid.training")
_MINUTE_S = 60.0
_GIB = 2**30


class StateWriter:
    """At most one state is being written; whoever asks for the next meanwhile waits for it.

    Leaving the block waits for the state that is being written, whatever ended the block.

    Args:
        folder: of the run's states.
        state: what is saved. Nobody changes it while `save` copies it.
        config: how often, and how many are kept.
        loss_before: of the run, as every state records it.
        saved: updates done in the state that the run went on from; None: it begins.
        keep: called with the folder, on the thread, when a state has been written.
    """

    def __init__(
        self,
        folder: Path,
        state: TrainState,
        config: TrainConfig,
        loss_before: float,
        saved: int | None,
        keep: Callable[[Path], None],
    ) -> None:
        self._folder, self._state, self._config, self._loss_before = folder, state, config, loss_before
        self._saved, self._saved_at, self._keep = saved, time.monotonic(), keep
        self._copies: dict[tuple[str, str], torch.Tensor] = {}
        self._thread = ThreadPoolExecutor(1, "lafid-state")
        self._writing: Future[float] | None = None
        self._copied_s = 0.0
        self._figures: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None) -> None:
        try:
            self.finish()
        except TrainStateError as unwritten:
            if error is None:
                raise
            _LOGGER.error("%s", unwritten)  # what ended the run is the error that is raised
        finally:
            self._thread.shutdown()

    def save_if_due(self, step: int) -> None:
        """Begins to save the state after `step` updates, where their number or the time since the last state asks for it.

        The time does not while a state is being written: a disk that is too slow for it shall not hold training up.

        Raises:
            TrainStateError: the state before this one could not be written.
        """
        if self._writing is not None and self._writing.done():
            self.finish()
        minutes = self._config.checkpoint_minutes
        late = minutes is not None and time.monotonic() - self._saved_at >= minutes * _MINUTE_S
        if step % self._config.checkpoint_every == 0 or (late and self._writing is None):
            self.save(step)

    def save(self, step: int) -> None:
        """Begins to save the state after `step` updates, unless it is saved or being saved: copies it, once the one before it is
        written, and leaves the rest to the thread.

        Raises:
            TrainStateError: the state before this one could not be written.
        """
        if step == self._saved:
            return
        began = time.monotonic()
        self.finish()
        files = self._copy()
        self._saved, self._saved_at = step, time.monotonic()
        self._copied_s = self._saved_at - began
        self._figures["state_stall_seconds"] = self._figures.get("state_stall_seconds", 0.0) + self._copied_s
        self._writing = self._thread.submit(self._write, step, files)

    def finish(self) -> None:
        """Until the state that is being written, if any, lies on the disk.

        Raises:
            TrainStateError: it could not be written.
        """
        if self._writing is None:
            return
        writing, self._writing = self._writing, None
        seconds = writing.result()
        self._figures["state_write_seconds"] = seconds
        size = sum(copy.nbytes for copy in self._copies.values()) / _GIB
        _LOGGER.info(
            "state of step %d: %.3g GiB; training stood still for %.2f s, written in %.2f s",
            self._saved,
            size,
            self._copied_s,
            seconds,
        )

    def figures(self) -> dict[str, float]:
        """Seconds since the last call: for which training stood still, and that a state took to be written; empty without one."""
        figures, self._figures = self._figures, {}
        return figures

    def _write(self, step: int, files: dict[str, dict[str, torch.Tensor]]) -> float:
        began = time.monotonic()
        save_state(self._folder, step, self._loss_before, files, self._config.keep_states)
        self._keep(self._folder)
        return time.monotonic() - began

    @torch.no_grad()
    def _copy(self) -> dict[str, dict[str, torch.Tensor]]:
        """The memory of the first copy serves all later ones; that of a GPU's tensors is page-locked, so that copies are fast."""
        copied: dict[str, dict[str, torch.Tensor]] = {}
        on_gpu = False
        for file, tensors in self._state.files().items():
            copied[file] = {}
            for name, tensor in tensors.items():
                if (file, name) not in self._copies:
                    self._copies[file, name] = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
                copied[file][name] = self._copies[file, name].copy_(tensor, non_blocking=True)
                on_gpu |= tensor.is_cuda
        if on_gpu:
            torch.cuda.current_stream().synchronize()
        return copied
