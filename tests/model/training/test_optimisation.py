"""From gradients to an update: the schedule's shape, whose norm is whose, and an average that follows."""

from collections.abc import Callable
from contextlib import suppress

import pytest
import torch
from torch import nn

from model.presets import Preset
from model.training.optimisation import MovingAverage, clip_gradients, gradient_norms, group_of, rated_groups, schedule, set_rates


def test_warmup_is_linear_and_the_cosine_ends_at_zero(quick: Callable[..., Preset]) -> None:
    config = quick(steps=12, warmup_steps=2).train
    rates = [schedule(config, step) for step in range(13)]
    assert rates[:3] == pytest.approx([0.5, 1, 1])
    assert rates[7] == pytest.approx(0.5)  # half way between the end of warmup and the last step
    assert rates[12] == pytest.approx(0.0)
    assert rates[2:] == sorted(rates[2:], reverse=True)


def test_what_is_fresh_and_what_is_pretrained_have_rates_of_their_own(quick: Callable[..., Preset]) -> None:
    config = quick(steps=12, warmup_steps=2, lr=0.4, aligner_lr=0.2, base_lr=0.1).train
    names = {
        "adapter": ["adapter/gates.0.score.0.weight", "adapter_2/join.weight"],
        "aligner": ["adapter/pose_aligner.dictionary"],
        "lora": ["lora/blocks.0.attn1.to_q.lora_A.lafid.weight"],
        "base": ["weights/blocks.0.attn2.to_q.weight", "weights_2/patch_embedding.bias"],
    }
    parameters = {name: nn.Parameter(torch.zeros(1)) for group in names.values() for name in group}
    groups = rated_groups(parameters, config)
    assert {g["name"]: g["params"] for g in groups} == {group: [parameters[n] for n in own] for group, own in names.items()}
    optimizer = torch.optim.AdamW(groups)
    assert set_rates(optimizer, config, 0) == pytest.approx({"adapter": 0.2, "aligner": 0.1, "lora": 0.2, "base": 0.05})
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.2, 0.1, 0.2, 0.05])
    assert [g["name"] for g in rated_groups({"adapter/join.weight": parameters["adapter_2/join.weight"]}, config)] == ["adapter"]


def test_a_large_contrastive_gradient_leaves_the_others_as_they_are(quick: Callable[..., Preset]) -> None:
    named = {name: nn.Parameter(torch.zeros(2)) for name in ("adapter/join.weight", "lora/a", "adapter/pose_aligner.dictionary")}
    for parameter, gradient in zip(named.values(), ([0.3, 0.0], [0.0, 0.4], [300.0, 400.0]), strict=True):
        parameter.grad = torch.tensor(gradient)
    optimizer = torch.optim.AdamW(rated_groups(named, quick().train))
    clip_gradients(optimizer, 1.0)
    clipped = [parameter.grad for parameter in named.values()]
    torch.testing.assert_close(clipped, [torch.tensor([0.3, 0.0]), torch.tensor([0.0, 0.4]), torch.tensor([0.6, 0.8])])
    clip_gradients(optimizer, 0.25)
    torch.testing.assert_close(clipped[:2], [torch.tensor([0.15, 0.0]), torch.tensor([0.0, 0.2])])


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("adapter/gates.0.score.0.weight", "adapter/gates"),
        ("adapter_2/null_tokens", "adapter_2/null_tokens"),
        ("lora/blocks.0.attn1.to_q.lora_A.lafid.weight", "lora"),
        ("weights_2/blocks.0.ffn.net.2.weight", "weights_2"),
    ],
)
def test_groups_are_components_of_the_adapter_and_parts_of_the_base(name: str, group: str) -> None:
    assert group_of(name) == group


def test_norms_are_of_the_group_and_together_of_the_whole() -> None:
    parameters = {name: nn.Parameter(torch.zeros(2)) for name in ("lora/a", "lora/b", "adapter/gates.0", "weights/still")}
    parameters["lora/a"].grad = torch.tensor([3.0, 0.0])
    parameters["lora/b"].grad = torch.tensor([0.0, 4.0])
    parameters["adapter/gates.0"].grad = torch.tensor([12.0, 0.0])
    norms = gradient_norms(parameters)
    assert {name: float(norm) for name, norm in norms.items()} == {"lora": 5.0, "adapter/gates": 12.0}
    assert float(torch.linalg.vector_norm(torch.stack(list(norms.values())))) == 13.0


def test_the_average_ramps_up_to_its_decay() -> None:
    parameters = {"a": nn.Parameter(torch.zeros(1))}
    average = MovingAverage(parameters, decay=0.5)
    with torch.no_grad():
        parameters["a"].fill_(1.0)
    average.update(parameters, 0)
    assert float(average.tensors["a"]) == pytest.approx(0.9)  # weighs its past by 1 / 10
    with torch.no_grad():
        parameters["a"].zero_()
    average.update(parameters, 1000)
    assert float(average.tensors["a"]) == pytest.approx(0.45)  # by its decay


def test_the_model_computes_with_the_average_only_while_it_is_in_place() -> None:
    layer = nn.Linear(1, 1, bias=False)
    parameters = dict(layer.named_parameters())
    with torch.no_grad():
        layer.weight.fill_(2.0)
    average = MovingAverage(parameters, decay=0.5)
    with torch.no_grad():
        layer.weight.fill_(8.0)
    one = torch.ones(1, 1)
    with average.in_place_of(parameters):
        assert float(layer(one).detach()) == 2.0
    assert float(layer(one).detach()) == 8.0
    assert float(average.tensors["weight"]) == 2.0


def test_the_average_takes_in_thousandths() -> None:
    """In the precision of the frozen base it would stand still: 1 + 0.001 is 1 in bfloat16."""
    parameters = {"a": nn.Parameter(torch.ones(1, dtype=torch.bfloat16))}
    average = MovingAverage(parameters, decay=0.999)
    with torch.no_grad():
        parameters["a"].fill_(2.0)
    for step in range(10_000, 10_100):
        average.update(parameters, step)
    assert float(average.tensors["a"]) == pytest.approx(2 - 0.999**100, abs=1e-4)


@pytest.mark.parametrize("broken", [False, True])
def test_swapping_is_exact_and_leaves_the_tensors_where_they_are(broken: bool) -> None:
    """The optimiser, compiled blocks and NCCL know the trained tensors by their memory."""
    parameters = {"a": nn.Parameter(torch.randn(7))}
    average, before, address = MovingAverage(parameters, 0.9), parameters["a"].detach().clone(), parameters["a"].data_ptr()
    average.tensors["a"].add_(1)
    with suppress(ZeroDivisionError), average.in_place_of(parameters):
        assert torch.equal(parameters["a"], before + 1)
        assert parameters["a"].data_ptr() == address
        if broken:
            raise ZeroDivisionError
    assert torch.equal(parameters["a"], before)
    assert torch.equal(average.tensors["a"], before + 1)
