"""The steps that the training benchmarks time are steps of one and the same training."""

from pathlib import Path

import pytest
import torch

from benchmarks import train_cpu, train_gpu
from benchmarks.train_rungs import Rung, open_rung
from model.presets import ClipSize

SMALL = train_cpu.PRESET.model_copy(update={"clip": ClipSize(frames=5, height=32, width=32)})


def test_no_lever_changes_the_loss(tmp_path: Path) -> None:
    """Of the first step also the face branch does not, which begins at zero; of the third it does, having learned."""
    losses = {}
    for rung in train_cpu.RUNGS:
        step = open_rung(SMALL, rung, train_cpu.ENCODERS, tmp_path, torch.device("cpu"))
        losses[rung.name] = [step() for _ in range(3)]
    online, cached, face, checkpointed = losses.values()
    assert online == cached
    assert face == checkpointed
    assert face[0] == pytest.approx(cached[0], rel=1e-6)
    assert face[2] != cached[2]
    assert len(set(cached)) == 3


def test_a_row_has_every_figure_and_says_what_it_cannot() -> None:
    row = train_gpu.measure(SMALL, Rung("small"), train_cpu.ENCODERS, torch.device("cpu"), warmup=0, steps=2)
    assert row["step_p95_s"] > 0
    tokens = 2 * 2 * 2  # latent frames, and 4 x 4 latents in patches of 2
    assert row["tokens_per_s"] == pytest.approx(tokens / row["step_s"])
    assert [row[name] for name in ("mfu", "hfu", "limit_s", "peak_gib")] == [None] * 4
