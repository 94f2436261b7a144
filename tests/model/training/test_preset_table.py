"""What each preset costs: the face branch is a small share of the work, and counts are those of the real modules."""

import pytest
import torch

from model.presets import PRESETS, Preset
from model.training.preset_table import PresetRow, preset_row, preset_table


def shallow(name: str, blocks: int = 2) -> Preset:
    """The preset on a base of fewer blocks: every share of a block's work is the same, and counting takes less time."""
    whole = PRESETS[name]
    wan = whole.base.transformer
    layers = None if wan.vace_layers is None else tuple(layer for layer in wan.vace_layers if layer < blocks)
    cut = wan.model_copy(update={"num_layers": blocks, "vace_layers": layers})
    return whole.model_copy(update={"base": whole.base.model_copy(update={"transformer": cut})})


@pytest.fixture(scope="module")
def smallest() -> PresetRow:
    return preset_table(["wan2.1-t2v-1.3b"])[0]


def test_the_row_of_a_whole_preset(smallest: PresetRow) -> None:
    assert smallest.video_tokens == 21 * 30 * 52
    assert smallest.base_parameters == 1_418_996_800
    assert smallest.forward_tflop == pytest.approx(283, rel=1e-3)  # Wan2.1 1.3B, 81 frames at 480p, by the closed formula
    assert smallest.branch_share <= 0.015
    assert smallest.lora_parameters == 30 * 8 * 2 * 128 * 1536
    assert smallest.trained_parameters == smallest.lora_parameters + smallest.adapter_parameters
    assert smallest.weights_gib == pytest.approx(
        (2 * (smallest.base_parameters + smallest.lora_parameters) + 4 * smallest.adapter_parameters) / 2**30
    )
    assert smallest.reference_tokens == smallest.references_tflop == 0


def test_a_cut_base_has_the_whole_ones_share(smallest: PresetRow) -> None:
    assert preset_row(shallow("wan2.1-t2v-1.3b")).branch_share == pytest.approx(smallest.branch_share, rel=0.02)


@pytest.mark.parametrize(
    ("name", "most"), [(name, 0.015 if "1.3b" in name else 0.01) for name in PRESETS if "1.3b" in name or "14b" in name]
)
def test_the_narrow_branch_is_cheap(name: str, most: float) -> None:
    row = preset_row(shallow(name))
    assert 0.4 * most < row.branch_share <= most


def test_the_full_branch_costs_more_than_the_narrow_one() -> None:
    narrow = shallow("wan2.1-t2v-14b")
    full = narrow.model_copy(update={"fusion": narrow.fusion.model_copy(update={"injection": "full"})})
    assert preset_row(full).branch_share > 5 * preset_row(narrow).branch_share


def test_references_and_both_transformers_are_counted() -> None:
    views = preset_row(shallow("wan2.1-t2v-14b"))
    assert views.reference_tokens == 3 * 102  # of 16 x 16 a view, of which 60 % are hidden
    assert 0.005 < views.references_tflop / views.forward_tflop < 0.06
    one, two = preset_row(PRESETS["tiny"]), preset_row(PRESETS["tiny-two-experts"])
    for count in ("base_parameters", "adapter_parameters", "trained_parameters"):
        assert getattr(two, count) == 2 * getattr(one, count)
    assert two.forward_tflop == one.forward_tflop


def test_vace_draws_its_picture_too_and_its_blocks_are_counted() -> None:
    name = "wan2.1-vace-1.3b"
    assert preset_row(shallow(name)).video_tokens == (21 + 1) * 30 * 52
    assert preset_row(shallow("wan2.1-i2v-14b")).video_tokens == 21 * 30 * 52
    # Of two blocks the first has a VACE block beside it: three blocks' work, and two of one block.
    one, two = (preset_row(shallow(name, blocks)) for blocks in (1, 2))
    assert two.forward_tflop == pytest.approx(1.5 * one.forward_tflop, rel=0.02)
    block_inputs = 3 * two.video_tokens * 1536 * 2
    assert two.training_gib == pytest.approx((16 * two.trained_parameters + block_inputs) / 2**30)


def test_it_counts_what_really_runs(base) -> None:
    from model.face_branch.fusion import FaceFusion
    from model.training.preset_table import _features

    tiny = PRESETS["tiny"]
    fusion = FaceFusion.for_transformer(base.transformer, _features(tiny), tiny.fusion)
    row = preset_row(tiny)
    assert row.adapter_parameters == sum(parameter.numel() for parameter in fusion.parameters())
    assert row.base_parameters == sum(parameter.numel() for parameter in base.transformer.parameters())
    assert torch.get_default_device().type == "cpu"
