"""The formula behind MFU and HFU, against what torch counts."""

from types import SimpleNamespace

import pytest
import torch

from model.bases.build import build_transformer
from model.presets import Preset, preset
from model.training.preset_table import _inputs, _tflop, preset_size
from model.training.throughput import peak_flop_per_s, step_flop
from tests.model.layouts import shallow


@pytest.mark.parametrize("name", ["wan2.1-i2v-14b", "wan2.1-vace-1.3b"])
def test_the_formula_counts_what_torch_counts_in_a_forward(name: str) -> None:
    """CLIP's rows of the first frame, VACE's blocks and its picture among it. What is no block's is little beside many blocks."""
    few, more = (formula_and_count(shallow(name, blocks)) for blocks in (1, 3))
    assert more[0] == pytest.approx(more[1], rel=0.002)
    assert more[0] - few[0] == pytest.approx(more[1] - few[1], rel=0.0002)


@pytest.mark.long
@pytest.mark.parametrize("name", ["wan2.1-i2v-14b", "wan2.1-vace-1.3b", "wan2.1-t2v-1.3b", "wan2.2-i2v-a14b"])
def test_so_it_does_for_a_whole_base(name: str) -> None:
    formula, counted = formula_and_count(preset(name))
    assert formula == pytest.approx(counted, rel=0.0002)


def formula_and_count(chosen: Preset) -> tuple[float, float]:
    """TFLOP of a forward."""
    with torch.device("meta"):
        counted = _tflop(build_transformer(chosen.base).requires_grad_(False), _inputs(chosen))
    return step_flop(chosen.base.transformer, preset_size(chosen).video_tokens, chosen.train).model / 3e12, counted


def test_hardware_does_less_for_frozen_layers_and_more_under_checkpointing() -> None:
    chosen = preset("wan2.1-t2v-1.3b")
    lora = chosen.train.model_copy(update={"gradient_checkpointing": False})
    again = chosen.train.model_copy(update={"gradient_checkpointing": True})
    whole = lora.model_copy(update={"trainable": "all"})
    tflop = [step_flop(chosen.base.transformer, 32_760, config).hardware / 1e12 for config in (lora, again, whole)]
    # The guide derives 1150 for LoRA with checkpointing on 81 frames of 480p.
    assert tflop[1] == pytest.approx(1150, rel=0.01)
    assert tflop[0] < tflop[2] < tflop[1]


@pytest.mark.parametrize(
    ("card", "tflop_per_s"), [("NVIDIA H200", 989), ("NVIDIA H20", 148), ("NVIDIA H100 PCIe", 756), ("Somebody's card", None)]
)
def test_a_card_is_known_by_its_longest_name(monkeypatch: pytest.MonkeyPatch, card: str, tflop_per_s: float | None) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: card)
    found = peak_flop_per_s(SimpleNamespace(type="cuda"))
    assert found == (None if tflop_per_s is None else tflop_per_s * 1e12)
    assert peak_flop_per_s(torch.device("cpu")) is None
