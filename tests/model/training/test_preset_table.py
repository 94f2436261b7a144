"""What each preset costs: the face branch is a small share of the work, and counts are those of the real modules."""

from functools import cache

import pytest
import torch

from model.presets import PRESETS
from model.training.preset_table import PresetRow, preset_row, preset_size, preset_table
from tests.model.layouts import shallow


@cache
def row(name: str, blocks: int = 2) -> PresetRow:
    """Of that preset on that base: several tests look at one."""
    return preset_row(shallow(name, blocks))


def test_the_row_of_a_preset() -> None:
    """Of Wan2.1 1.3B, 81 frames at 480p: its size whole, and its work from what one more block adds."""
    name = "wan2.1-t2v-1.3b"
    size, few, more = preset_size(PRESETS[name]), row(name), row(name, 3)
    assert size.video_tokens == few.video_tokens == 21 * 30 * 52
    assert size.base_parameters == 1_418_996_800
    assert size.lora_parameters == 30 * 8 * 2 * 128 * 1536
    assert size.trained_parameters == size.lora_parameters + size.adapter_parameters
    assert size.reference_tokens == few.references_tflop == 0
    # By the closed formula of the whole.
    assert few.forward_tflop + 28 * (more.forward_tflop - few.forward_tflop) == pytest.approx(283, rel=1e-3)
    assert few.weights_gib == pytest.approx(
        (2 * (few.base_parameters + few.lora_parameters) + 4 * few.adapter_parameters) / 2**30
    )


@pytest.mark.long
def test_the_row_of_a_whole_preset() -> None:
    [smallest] = preset_table(["wan2.1-t2v-1.3b"])
    assert smallest.forward_tflop == pytest.approx(283, rel=1e-3)
    assert smallest.branch_share <= 0.015
    assert row("wan2.1-t2v-1.3b").branch_share == pytest.approx(smallest.branch_share, rel=0.02), "a cut base has its share"


@pytest.mark.parametrize(
    ("name", "most"),
    [
        # At 720p as at 480p, of a larger video.
        pytest.param(name, 0.015 if "1.3b" in name else 0.01, marks=[pytest.mark.long] if "720p" in name else [])
        for name in PRESETS
        if "1.3b" in name or "14b" in name
    ],
)
def test_the_narrow_branch_is_cheap(name: str, most: float) -> None:
    assert 0.4 * most < row(name).branch_share <= most


def test_the_full_branch_costs_more_than_the_narrow_one() -> None:
    narrow = shallow("wan2.1-t2v-14b")
    full = narrow.model_copy(update={"fusion": narrow.fusion.model_copy(update={"injection": "full"})})
    assert preset_row(full).branch_share > 5 * row("wan2.1-t2v-14b").branch_share


def test_references_and_both_transformers_are_counted() -> None:
    views = row("wan2.1-t2v-14b")
    assert views.reference_tokens == 3 * 102  # of 16 x 16 a view, of which 60 % are hidden
    assert 0.005 < views.references_tflop / views.forward_tflop < 0.06
    one, two = preset_row(PRESETS["tiny"]), preset_row(PRESETS["tiny-two-experts"])
    for count in ("base_parameters", "adapter_parameters", "trained_parameters"):
        assert getattr(two, count) == 2 * getattr(one, count)
    assert two.forward_tflop == one.forward_tflop


def test_vace_draws_its_picture_too_and_its_blocks_are_counted() -> None:
    name = "wan2.1-vace-1.3b"
    assert row(name).video_tokens == (21 + 1) * 30 * 52
    assert row("wan2.1-i2v-14b").video_tokens == 21 * 30 * 52
    # Of two blocks the first has a VACE block beside it: three blocks' work, and two of one block.
    one, two = (row(name, blocks) for blocks in (1, 2))
    assert two.forward_tflop == pytest.approx(1.5 * one.forward_tflop, rel=0.02)
    block_inputs = 3 * two.video_tokens * 1536 * 2
    assert two.training_gib == pytest.approx((16 * two.trained_parameters + block_inputs) / 2**30)


def test_it_counts_what_really_runs(base) -> None:
    from model.face_branch.fusion import FaceFusion
    from model.training.preset_table import _features

    tiny = PRESETS["tiny"]
    fusion = FaceFusion.for_transformer(base.transformer, _features(tiny), tiny.fusion)
    found = preset_row(tiny)
    assert found.adapter_parameters == sum(parameter.numel() for parameter in fusion.parameters())
    assert found.base_parameters == sum(parameter.numel() for parameter in base.transformer.parameters())
    assert torch.get_default_device().type == "cpu"
