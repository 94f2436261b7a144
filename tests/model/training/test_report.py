"""The figures of a run: which there are, and that each says what its name says."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import model.training.report
from model.clips.clip_set import ClipSet
from model.face_branch.trainable import FusedModel
from model.presets import Preset
from model.training.objective import StepLosses
from model.training.parallel import Ranks
from model.training.report import Meter, gate_entropies
from model.training.throughput import step_flop
from model.training.train import TrainReport, train

ALONE = Ranks(0, 1, torch.device("cpu"))


@pytest.fixture
def losses(clips: ClipSet) -> StepLosses:
    """Of two clips, the second at a sigma from the last quarter."""
    return StepLosses(
        clip_ids=("clip-0", "clip-1"),
        flow=torch.tensor([1.0, 5.0]),
        contrastive=torch.tensor(0.5),
        quantile=torch.tensor([0.1, 0.9]),
        last=clips.batch([0, 1], views=[[0, 1], [1, 2]]),
        last_sigma=torch.tensor([0.2, 0.95]),
    )


def test_losses_are_means_by_quarter_of_the_sigmas_since_the_last_reading(
    fused: Callable[..., FusedModel], quick: Callable[..., Preset], losses: StepLosses
) -> None:
    meter = Meter(fused(), quick(), ALONE)
    meter.note(losses, 0.0)
    meter.note(replace(losses, flow=torch.tensor([3.0, 7.0]), quantile=torch.tensor([0.2, 0.6])), 0.0)
    figures = meter.read(losses, {"lora": torch.tensor(2.0)})
    assert {name: value for name, value in figures.items() if name.startswith("loss_sigma")} == {
        "loss_sigma/q1": 2.0,
        "loss_sigma/q3": 7.0,
        "loss_sigma/q4": 5.0,
    }
    assert figures["loss_contrastive"] == 0.5
    assert figures["grad_norm/lora"] == 2.0
    meter.note(losses, 0.0)
    assert meter.read(losses, {})["loss_sigma/q1"] == 1.0


def test_speed_counts_every_clips_tokens_and_the_cards_peak(
    fused: Callable[..., FusedModel], quick: Callable[..., Preset], losses: StepLosses, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter([100.0, 104.0, 104.0])
    monkeypatch.setattr(model.training.report.time, "monotonic", lambda: next(now))
    monkeypatch.setattr(model.training.report, "peak_flop_per_s", lambda _device: 1e9)
    preset = quick()
    meter = Meter(fused(), preset, Ranks(0, 2, torch.device("cpu")))
    meter.note(losses, 0.5)
    meter.note(replace(losses, last=losses.last.cut(2)), 0.5)
    figures = meter.read(losses, {})
    # 3 latent frames of 2 x 2 tokens, then 2, and two views of 4 tokens of which 60 % are hidden.
    tokens = 3 * 4 + 2 * 2, 2 * 4 + 2 * 2
    assert figures["tokens_per_second"] == pytest.approx(2 * sum(tokens) / 4.0)
    assert figures["seconds_per_step"] == pytest.approx(2.0)
    assert figures["data_wait_share"] == pytest.approx(0.25)
    flops = [step_flop(preset.base.transformer, count, preset.train) for count in tokens]
    assert figures["mfu"] == pytest.approx(sum(2 * flop.model for flop in flops) / (4.0 * 2e9))
    assert figures["hfu"] == pytest.approx(sum(2 * flop.hardware for flop in flops) / (4.0 * 2e9))


def test_an_even_gate_has_the_entropy_of_three_and_a_decided_one_none(
    fused: Callable[..., FusedModel], losses: StepLosses
) -> None:
    model = fused()
    with torch.no_grad():
        for gate, decided in zip(model.fusion.gates, (False, True), strict=True):
            gate.score[2].weight.zero_()
            gate.score[2].bias.copy_(torch.tensor([1000.0 if decided else 0.0, 0.0, 0.0]))
    even, sure = gate_entropies(model.base.transformer, model.fusion, losses)
    assert even == pytest.approx(math.log(3))
    assert sure == pytest.approx(0.0)


def test_a_time_aware_gate_is_asked_at_the_clips_own_sigma(fused: Callable[..., FusedModel], losses: StepLosses) -> None:
    model = fused(heard=True)
    early, late = (
        gate_entropies(model.base.transformer, model.fusion, replace(losses, last_sigma=torch.full((2,), sigma)))
        for sigma in (0.05, 0.95)
    )
    assert early != late


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_real_run_reports_every_figure_that_a_cpu_has(
    quick: Callable[..., Preset], clip_list: Path, base_dir: Path, tmp_path: Path, precision: str
) -> None:
    heard: list[TrainReport] = []
    config = quick(steps=1, batch_size=5, trainable="adapter_and_lora", precision=precision)
    train(config, clip_list, base_dir, tmp_path, heard.append, dataset_version="v1", device="cpu")
    (report,) = heard
    figures = report.metrics
    assert all(math.isfinite(value) for value in figures.values())
    assert {"tokens_per_second", "seconds_per_step", "data_wait_share", "host_peak_gib", "loss_contrastive"} <= set(figures)
    assert {"gate_entropy/layer_00", "gate_entropy/layer_01", "grad_norm/lora", "grad_norm/adapter/attentions"} <= set(figures)
    assert not {"mfu", "hfu", "gpu_peak_gib"} & set(figures)
    norms = torch.tensor([value for name, value in figures.items() if name.startswith("grad_norm/")])
    assert report.grad_norm == pytest.approx(float(norms.norm()), rel=1e-5)
    assert 0.1 < figures["host_peak_gib"] < 100
