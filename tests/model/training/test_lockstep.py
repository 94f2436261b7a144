"""Who leads tells of each forward, of its end, and of nothing while the others wait in one that failed."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from model.training import lockstep
from model.training.lockstep import OutOfStep, leading
from model.training.parallel import Ranks

FIRST_OF_TWO = Ranks(0, 2, torch.device("cpu"))


class Transformer(nn.Module):
    """Fails where it is asked to."""

    def forward(self, fails: bool) -> None:
        if fails:
            raise MemoryError


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the others hear."""
    heard: list[Any] = []
    monkeypatch.setattr(lockstep, "_send", heard.append)
    return heard


def draw(*fails: bool) -> None:
    """Forward after forward, as an onlooker who goes on with the next video where one failed."""
    model = SimpleNamespace(base=SimpleNamespace(transformers=(Transformer(),)))
    with leading(model, SimpleNamespace(shard_base=True), FIRST_OF_TWO):
        for one in fails:
            try:
                model.base.transformers[0](one)
            except (MemoryError, OutOfStep):
                continue


def test_the_others_hear_of_every_forward_and_of_the_end(told: list[Any]) -> None:
    draw(False, False)
    assert told == [(0, (False,), {}), (0, (False,), {}), True]


def test_nobody_goes_on_after_a_forward_that_failed(told: list[Any]) -> None:
    with pytest.raises(OutOfStep, match="the others wait in it"):
        draw(False, True, False)
    assert told == [(0, (False,), {}), (0, (True,), {})]
