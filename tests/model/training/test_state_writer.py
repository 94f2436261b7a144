"""States beside the computation: one at a time, of the moment they were asked for, by number and by time; a failure is told."""

from collections.abc import Callable
from pathlib import Path
from threading import Event, Timer

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import model.training.state_writer
from model.presets import Preset
from model.training.state import TrainState, TrainStateError, newest_step, restore_state, save_state
from model.training.state_writer import StateWriter

Open = Callable[..., StateWriter]


@pytest.fixture
def state() -> TrainState:
    parameters = {"a": nn.Parameter(torch.zeros(3))}
    return TrainState(parameters, torch.optim.AdamW(parameters.values()), None)


@pytest.fixture
def opened(state: TrainState, quick: Callable[..., Preset], tmp_path: Path) -> Open:
    def make(saved: int | None = None, **train: object) -> StateWriter:
        return StateWriter(tmp_path, state, quick(**{"checkpoint_every": 100} | train).train, 1.0, saved, lambda _: None)

    return make


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> Event:
    """Writing waits for it."""
    free = Event()

    def write(*what: object) -> None:
        assert free.wait(30)
        save_state(*what)

    monkeypatch.setattr(model.training.state_writer, "save_state", write)
    return free


def add_one(state: TrainState) -> None:
    with torch.no_grad():
        state.parameters["a"].add_(1)


def test_training_goes_on_and_the_state_is_of_the_moment_it_was_asked_for(
    opened: Open, state: TrainState, slow_disk: Event, tmp_path: Path
) -> None:
    with opened() as writer:
        for step in (1, 2):
            add_one(state)
            writer.save(step)
            add_one(state)
            assert newest_step(tmp_path) == (None, 1)[step - 1], "it is not written yet"
            slow_disk.set()
            writer.finish()
            slow_disk.clear()
        slow_disk.set()
    assert restore_state(tmp_path, state) == (2, 1.0)
    assert state.parameters["a"].tolist() == [3, 3, 3], "the copy of step 2, in the memory of that of step 1"


def test_the_next_state_waits_for_the_one_before_it(opened: Open, state: TrainState, slow_disk: Event, tmp_path: Path) -> None:
    """Or the copy of the second would change the first while it is written."""
    with opened() as writer:
        for step in (1, 2):
            add_one(state)
            Timer(0.3, slow_disk.set).start()
            writer.save(step)
    for step in (1, 2):
        assert load_file(tmp_path / f"step-000000{step}" / "parameters.safetensors")["a"].tolist() == [step] * 3


def test_by_time_one_comes_so_many_minutes_after_the_last_and_none_while_one_is_written(
    opened: Open, slow_disk: Event, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    now = [0.0]
    monkeypatch.setattr(model.training.state_writer.time, "monotonic", lambda: now[0])
    with opened(checkpoint_minutes=2) as writer:
        for step, seconds in ((1, 119), (2, 120), (3, 500)):
            now[0] = seconds
            writer.save_if_due(step)
        assert not slow_disk.is_set()  # or it would hang: step 3 was late, but step 2 is being written
        slow_disk.set()
        writer.finish()
        writer.save_if_due(4)
        now[0] = 600
        writer.save_if_due(5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-0000002", "step-0000004"]


def test_states_come_by_number_too_and_what_is_saved_is_not_saved_again(opened: Open, tmp_path: Path) -> None:
    with opened(saved=4, checkpoint_every=2, checkpoint_minutes=None) as writer:
        for step in (4, 5, 6, 7):
            writer.save_if_due(step)
        writer.finish()
        assert newest_step(tmp_path) == 6
        assert writer.figures().keys() == {"state_stall_seconds", "state_write_seconds"}
        assert writer.figures() == {}


def test_a_state_that_cannot_be_written_stops_the_run_at_the_next_update(
    opened: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("model.training.state.save_file", full)
    unwritten = r"state of step 1 .* could not be written .*No space left.*no state is saved yet"
    writer = opened()
    writer.save(1)
    with pytest.raises(TrainStateError, match=unwritten):
        any(writer.save_if_due(2) for _ in range(10_000_000))
    writer = opened()
    writer.save(1)
    # What ended the run is told by whoever catches it, and the state by the log.
    writer.__exit__(ZeroDivisionError, ZeroDivisionError(), None)
    assert "state of step 1" in caplog.text
    with pytest.raises(TrainStateError, match=unwritten), opened() as writer:
        writer.save(1)
