"""The state of an unfinished run: exact, kept short, refused when torn."""

from pathlib import Path

import pytest
import torch
from torch import nn

from model.train_state import TrainStateError, restore_state, save_state


@pytest.fixture
def trained() -> tuple[dict[str, nn.Parameter], torch.optim.AdamW]:
    parameters = {"a": nn.Parameter(torch.randn(3)), "b/c.d": nn.Parameter(torch.randn(2, 2))}
    optimizer = torch.optim.AdamW(parameters.values(), lr=0.1)
    for parameter in parameters.values():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    return parameters, optimizer


def fresh(parameters: dict[str, nn.Parameter]) -> tuple[dict[str, nn.Parameter], torch.optim.AdamW]:
    blank = {name: nn.Parameter(torch.zeros_like(value)) for name, value in parameters.items()}
    return blank, torch.optim.AdamW(blank.values(), lr=0.1)


def test_parameters_and_moments_come_back(tmp_path: Path, trained) -> None:
    save_state(tmp_path, 5, 1.25, *trained)
    blank, optimizer = fresh(trained[0])
    assert restore_state(tmp_path, blank, optimizer) == (5, 1.25)
    for name, parameter in trained[0].items():
        assert torch.equal(blank[name], parameter)
        for moment, value in trained[1].state[parameter].items():
            assert torch.equal(optimizer.state[blank[name]][moment], value)


def test_nothing_saved_is_none(tmp_path: Path, trained) -> None:
    assert restore_state(tmp_path / "absent", *trained) is None


def test_the_last_two_are_kept_and_the_newest_is_used(tmp_path: Path, trained) -> None:
    for step in (2, 9, 10):
        save_state(tmp_path, step, 1.0, *trained)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["step-0000009", "step-0000010"]
    assert restore_state(tmp_path, *trained) == (10, 1.0)


def test_a_torn_state_is_named(tmp_path: Path, trained) -> None:
    save_state(tmp_path, 3, 1.0, *trained)
    moments = tmp_path / "step-0000003" / "optimizer.safetensors"
    moments.write_bytes(moments.read_bytes()[:-4])
    with pytest.raises(TrainStateError, match=r"optimizer\.safetensors is torn: delete .*step-0000003"):
        restore_state(tmp_path, *trained)


def test_another_runs_state_is_refused(tmp_path: Path, trained) -> None:
    save_state(tmp_path, 3, 1.0, *trained)
    other = {"z": nn.Parameter(torch.zeros(1))}
    with pytest.raises(TrainStateError, match="another run"):
        restore_state(tmp_path, other, torch.optim.AdamW(other.values()))
