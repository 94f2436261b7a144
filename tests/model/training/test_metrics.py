"""Flow loss on fixed triples, and PSNR."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.bases.base import load_base
from model.clip_size import Bucket
from model.clips.clip_set import ClipSet
from model.face_branch.trainable import FusedModel, assemble
from model.presets import Preset
from model.training.metrics import fixed_flow_loss, psnr
from tests.model.cached_clips import ClipLatents, write_clips
from tests.model.conftest import hear


def test_psnr() -> None:
    black, grey = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)
    assert psnr(black, black) == float("inf")
    assert psnr(black, grey) == pytest.approx(0.0)
    assert psnr(black, np.full((4, 4, 3), 8, np.uint8)) == pytest.approx(20 * np.log10(255 / 8))
    with pytest.raises(ValueError, match="equal shapes"):
        psnr(black, black[:2])


def test_the_flow_loss_is_the_same_twice_and_depends_on_the_face(
    fused: Callable[..., FusedModel], clips: ClipSet, quick: Callable[..., Preset]
) -> None:
    model, preset = fused(heard=True), quick(fixed_triples=10)
    first, again = (fixed_flow_loss(model, clips, preset) for _ in range(2))
    assert first == again
    assert first != fixed_flow_loss(model, clips, quick(fixed_triples=10, seed=1))
    other_shift = preset.base.model_copy(update={"flow_shift_480p": 12.0})
    assert first != fixed_flow_loss(model, clips, preset.model_copy(update={"base": other_shift}))
    with torch.no_grad():
        model.fusion.attentions[0].out.weight.zero_()
    assert first != fixed_flow_loss(model, clips, preset)


def test_no_forward_is_larger_than_those_of_training(
    fused: Callable[..., FusedModel], clips: ClipSet, quick: Callable[..., Preset], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A card on which training fits has room for judging."""
    model, sizes, velocity = fused(heard=True), [], FusedModel.velocity

    def measured(self: FusedModel, noisy: torch.Tensor, *arguments: Any, **given: Any) -> torch.Tensor:
        sizes.append(len(noisy))
        return velocity(self, noisy, *arguments, **given)

    monkeypatch.setattr(FusedModel, "velocity", measured)
    together = fixed_flow_loss(model, clips, quick(fixed_triples=10))
    apart = fixed_flow_loss(model, clips, quick(fixed_triples=10, forward_clips=3))
    assert sizes == [8, 2, 3, 3, 3, 1]
    assert apart == pytest.approx(together, rel=1e-5)


def test_clips_of_several_sizes_are_judged_together(
    fused: Callable[..., FusedModel], cached: list[ClipLatents], quick: Callable[..., Preset], tmp_path: Path
) -> None:
    model = fused(heard=True)
    short = [
        replace(
            clip,
            latents=clip.latents[:, :2],
            face_boxes=clip.face_boxes[:2],
            meta=clip.meta.model_copy(update={"bucket": Bucket(2, 16, 16)}),
        )
        for clip in cached[3:]
    ]
    mixed = ClipSet(write_clips(tmp_path, [*cached[:3], *short]))
    assert {tuple(bucket): indices for bucket, indices in mixed.buckets.items()} == {(2, 16, 16): (3, 4), (3, 16, 16): (0, 1, 2)}
    first, again = (fixed_flow_loss(model, mixed, quick(fixed_triples=10)) for _ in range(2))
    assert first == again
    assert math.isfinite(first)


def test_a_model_that_lies_in_bfloat16_is_measured_without_autocast(
    base_dir: Path, clips: ClipSet, quick: Callable[..., Preset]
) -> None:
    """As evaluation loads one that was trained in it: every part is given what it reads."""
    preset = quick(trainable="adapter_and_lora", fixed_triples=4)
    losses = []
    for dtype in (torch.float32, torch.bfloat16):
        base = load_base(base_dir, "cpu", dtype)
        model = assemble(base, clips.batch([0]).face, preset.fusion, preset.train)
        for transformer, fusion in model.attached:
            hear(fusion)
            torch.nn.Module.to(fusion, dtype)
            for parameter in (value for name, value in transformer.named_parameters() if "lora" in name):
                parameter.data = parameter.data.to(dtype)
        losses.append(fixed_flow_loss(model, clips, preset))
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
