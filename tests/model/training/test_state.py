"""The state of an unfinished run: exact, kept short, passed over when torn, whole or absent when the disk is full."""

import logging
import resource
from pathlib import Path

import pytest
import torch
from torch import nn

from model.training.optimisation import MovingAverage
from model.training.state import TrainState, TrainStateError, naming_disk_errors, newest_step, restore_state, save_state

FILES = ("parameters.safetensors", "optimizer.safetensors", "average.safetensors", "state.json")


def fresh(like: dict[str, torch.Tensor]) -> TrainState:
    blank = {name: nn.Parameter(torch.zeros_like(value)) for name, value in like.items()}
    return TrainState(blank, torch.optim.AdamW(blank.values(), lr=0.1), MovingAverage(blank, 0.9))


@pytest.fixture
def trained() -> TrainState:
    state = fresh({"a": torch.randn(3), "b/c.d": torch.randn(2, 2)})
    for parameter in state.parameters.values():
        parameter.grad = torch.randn_like(parameter)
    state.optimizer.step()
    assert state.average is not None
    state.average.update(state.parameters, 0)
    return state


def equal(first: TrainState, second: TrainState) -> bool:
    pairs = [
        *((parameter, second.parameters[name]) for name, parameter in first.parameters.items()),
        *((value, second.average.tensors[name]) for name, value in first.average.tensors.items()),
        *(
            (value, second.optimizer.state[second.parameters[name]][moment])
            for name, parameter in first.parameters.items()
            for moment, value in first.optimizer.state[parameter].items()
        ),
    ]
    return all(torch.equal(*pair) for pair in pairs)


def test_parameters_moments_and_average_come_back(tmp_path: Path, trained: TrainState) -> None:
    save_state(tmp_path, 5, 1.25, trained.files(), keep=2)
    blank = fresh(trained.parameters)
    assert not blank.optimizer.state
    assert restore_state(tmp_path, blank) == (5, 1.25)
    assert equal(trained, blank)


def test_nothing_saved_is_none(tmp_path: Path, trained: TrainState) -> None:
    assert restore_state(tmp_path / "absent", trained) is None
    assert newest_step(tmp_path / "absent") is None


@pytest.mark.parametrize("keep", [1, 2])
def test_the_newest_are_kept_and_what_a_killed_save_left_is_swept(tmp_path: Path, trained: TrainState, keep: int) -> None:
    (tmp_path / ".step-0000001.abc").mkdir()
    for step in (2, 9, 10):
        save_state(tmp_path, step, 1.0, trained.files(), keep)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["step-0000009", "step-0000010"][-keep:]
    assert restore_state(tmp_path, trained) == (10, 1.0)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["cut", "missing"])
def test_a_torn_state_is_named_and_the_one_before_is_used(
    tmp_path: Path, trained: TrainState, name: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    save_state(tmp_path, 3, 1.0, trained.files(), keep=2)
    save_state(tmp_path, 4, 1.0, trained.files(), keep=2)
    torn = tmp_path / "step-0000004" / name
    torn.write_bytes(torn.read_bytes()[:-4]) if damage == "cut" else torn.unlink()
    blank = fresh(trained.parameters)
    with caplog.at_level(logging.WARNING, logger="lafid.training"):
        assert restore_state(tmp_path, blank) == (3, 1.0)
    assert equal(trained, blank)
    assert [record.getMessage() for record in caplog.records] == [
        f"{torn} is torn: passing over step-0000004, going on from the state before it"
    ]


def test_a_state_that_is_there_stays_and_a_torn_one_makes_way(tmp_path: Path, trained: TrainState) -> None:
    """A run that passed over a torn state comes to its step again."""
    save_state(tmp_path, 3, 1.0, trained.files(), keep=1)
    manifest = tmp_path / "step-0000003" / "state.json"
    written = manifest.stat().st_mtime_ns
    save_state(tmp_path, 3, 1.0, trained.files(), keep=1)
    assert manifest.stat().st_mtime_ns == written
    (tmp_path / "step-0000003" / FILES[0]).write_bytes(b"torn")
    save_state(tmp_path, 3, 1.0, trained.files(), keep=1)
    blank = fresh(trained.parameters)
    assert restore_state(tmp_path, blank) == (3, 1.0)
    assert equal(trained, blank)


def test_a_changed_byte_is_torn_too(tmp_path: Path, trained: TrainState) -> None:
    save_state(tmp_path, 3, 1.0, trained.files(), keep=2)
    moments = tmp_path / "step-0000003" / FILES[1]
    content = bytearray(moments.read_bytes())
    content[-1] ^= 1
    moments.write_bytes(content)
    with pytest.raises(TrainStateError, match=r"every state in .* is torn: delete it to start anew"):
        restore_state(tmp_path, trained)


def test_another_runs_state_is_refused(tmp_path: Path, trained: TrainState) -> None:
    save_state(tmp_path, 3, 1.0, trained.files(), keep=2)
    with pytest.raises(TrainStateError, match="another run"):
        restore_state(tmp_path, fresh({"z": torch.zeros(1)}))


def test_a_full_disk_leaves_the_state_before_and_says_so(tmp_path: Path, trained: TrainState) -> None:
    """The kernel refuses to let a file grow, in the middle of the tensors."""
    save_state(tmp_path, 3, 1.0, trained.files(), keep=1)
    big = fresh({"a": torch.zeros(1 << 16)})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    try:
        with pytest.raises(TrainStateError, match=r"state of step 4 .* could not be written .*goes on from step 3"):
            save_state(tmp_path, 4, 1.0, big.files(), keep=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000003"]
    blank = fresh(trained.parameters)
    assert restore_state(tmp_path, blank) == (3, 1.0)
    assert equal(trained, blank)


def test_only_errors_of_the_disk_are_named_so(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), naming_disk_errors("it", tmp_path):
        raise ZeroDivisionError
