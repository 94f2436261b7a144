"""What differs between processes is named, by rank and tensor; what is equal is not."""

from collections.abc import Callable

import pytest
import torch

from model.training.parallel import Ranks
from model.training.rank_agreement import RanksDiffer, check_equal

Tensors = dict[str, torch.Tensor]


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> Callable[[Tensors, Tensors, Tensors], list[object]]:
    """Compares what three processes hold; what each of them told the others."""

    def compare(*held: Tensors) -> list[object]:
        told: list[object] = []
        monkeypatch.setattr(Ranks, "tell_all", lambda _self, what: told.append(what) or [what] * 3)
        for tensors in held:
            check_equal(tensors, Ranks(0, 3, torch.device("cpu")))
        monkeypatch.setattr(Ranks, "tell_all", lambda _self, _what: told)
        check_equal(held[0], Ranks(0, 3, torch.device("cpu")))
        return told

    return compare


def tensors() -> Tensors:
    dice = torch.Generator().manual_seed(0)
    shapes = {"half": (5, 3), "one": (), "whole": (4, 4)}
    found = {name: torch.randn(shape, generator=dice) for name, shape in shapes.items()}
    return found | {"half": found["half"].bfloat16(), "odd": found["whole"].T[1:]}


def test_equal_ones_pass(three: Callable) -> None:
    first, *others = three(tensors(), tensors(), tensors())
    assert set(first) == {"half", "one", "whole", "odd"}
    assert others == [first, first]


def change_a_bit(held: Tensors) -> None:
    held["half"].view(torch.int16)[4, 2] ^= 1


def swap_two(held: Tensors) -> None:
    held["half"][0, :2] = held["half"][0, :2].flip(0)


@pytest.mark.parametrize(
    "change", [change_a_bit, swap_two, lambda held: held.update(half=held["half"].reshape(3, 5)), lambda held: held.pop("half")]
)
def test_rank_and_tensor_are_named(three: Callable, change: Callable[[Tensors], None]) -> None:
    other = tensors()
    change(other)
    with pytest.raises(RanksDiffer, match=r"^rank 2 holds another half than rank 0: let all processes read one base"):
        three(tensors(), tensors(), other)


def test_of_many_the_first_are_named(three: Callable) -> None:
    others = {name: tensor + 1 for name, tensor in tensors().items()}
    with pytest.raises(RanksDiffer, match="^rank 1 holds another half, one, whole and 1 more than rank 0"):
        three(tensors(), others, tensors())
